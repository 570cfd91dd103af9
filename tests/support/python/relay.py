#!/usr/bin/python3
"""relay.py HOST TARGET_HOST TARGET_PORT - a bad line: forward TCP connections from HOST to the target, with faults.

It prints its port on stdout. On stdin it reads a command a line and answers each with "done":
  delay MS          delay all data by that much
  rate BYTES        a second, for each direction of each connection; 0 = no limit
  cut               end all connections
  hold ADDRESS      keep all data from and to that address
  release           hold nothing"""

import asyncio
import socket
import sys

PIECE = 16384
HELD = 262144  # bytes that the kernel takes from a sender for a connection that is behind, which else may be tens of MB


class Line:
    """What is done to all that passes."""

    def __init__(self):
        self.delay, self.rate, self.held, self.writers = 0.0, 0, set(), set()
        self.free = asyncio.Event()
        self.free.set()

    async def passed(self, address):
        while address in self.held:
            self.free.clear()
            await self.free.wait()

    async def feed(self, reader, queue):
        clock, due = asyncio.get_running_loop().time, 0.0
        while piece := await reader.read(PIECE):
            due = max(due, clock()) + (len(piece) / self.rate if self.rate else 0)
            await queue.put((due + self.delay, piece))
        await queue.put((0, None))

    async def drain(self, queue, writer, address):
        while (item := await queue.get())[1] is not None:
            await asyncio.sleep(max(0, item[0] - asyncio.get_running_loop().time()))
            await self.passed(address)
            writer.write(item[1])
            await writer.drain()
        await self.passed(address)

    async def connection(self, reader, writer, target):
        address, far = writer.get_extra_info("peername")[0], None
        self.writers.add(writer)
        try:
            await self.passed(address)
            back, far = await asyncio.open_connection(*target)
            self.writers.add(far)
            queues = asyncio.Queue(64), asyncio.Queue(64)
            jobs = [asyncio.ensure_future(job) for job in
                    (self.feed(reader, queues[0]), self.drain(queues[0], far, address),
                     self.feed(back, queues[1]), self.drain(queues[1], writer, address))]
            await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
            for job in jobs:
                job.cancel()
        except OSError:
            pass
        for one in (writer, far):
            if one is not None:
                self.writers.discard(one)
                one.transport.abort()

    def command(self, words):
        if words[0] == "delay":
            self.delay = float(words[1]) / 1000
        elif words[0] == "rate":
            self.rate = int(words[1])
        elif words[0] == "cut":
            for writer in list(self.writers):
                writer.transport.abort()
        elif words[0] == "hold":
            self.held.add(words[1])
        elif words[0] == "release":
            self.held.clear()
            self.free.set()


async def main(host, *target):
    line = Line()
    server = await asyncio.start_server(lambda reader, writer: line.connection(reader, writer, target), host, 0)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while words := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        line.command(words)
        print("done", flush=True)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
