#!/usr/bin/env python3
"""Measure the ring's all-reduce and torch.distributed's gloo in turns: the same bytes and number of processes on this
host.

scripts/bench_gloo.sh runs it. It prints a table or, with --json, an object. The exit status is 1 if the ring is slower
than --target times gloo's speed."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

import torch
import torch.distributed
import torch.multiprocessing


def gloo_rank(rank, ranks, count, folder, orders, answers):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    data = torch.zeros(count)
    while True:
        sums = orders.recv()
        if sums == 0:
            break
        torch.distributed.all_reduce(data[:1])
        cpu, walls = time.process_time(), []
        for _ in range(sums):
            begin = time.perf_counter()
            torch.distributed.all_reduce(data)
            walls.append(time.perf_counter() - begin)
        answers.send((median(walls) * 1e3, (time.process_time() - cpu) / sums * 1e3))
    torch.distributed.destroy_process_group()


class Gloo:
    def __init__(self, ranks, size):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self.folder = tempfile.TemporaryDirectory(prefix="lstmq-gloo-")
        context = torch.multiprocessing.get_context("spawn")
        self.orders, self.answers, self.processes = [], [], []
        for rank in range(ranks):
            order, order_to = context.Pipe(duplex=False)
            answer_from, answer = context.Pipe(duplex=False)
            process = context.Process(target=gloo_rank, daemon=True,
                                      args=(rank, ranks, size // 4, self.folder.name, order, answer))
            process.start()
            self.orders.append(order_to)
            self.answers.append(answer_from)
            self.processes.append(process)

    def burst(self, sums):
        for order in self.orders:
            order.send(sums)
        times = [answer.recv() for answer in self.answers]
        return {"ms": times[0][0], "cpu_ms": sum(cpu for _, cpu in times)}

    def close(self):
        for order in self.orders:
            order.send(0)
        for process in self.processes:
            process.join()
        self.folder.cleanup()


class Ring:
    def __init__(self, program, ranks, size, element, bind, *more):
        self.process = subprocess.Popen([program, str(ranks), str(size), element, bind, *more], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, encoding="utf-8")

    def burst(self, sums):
        self.process.stdin.write(f"{sums}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("ring_speed failed; the line above says why")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="ring_speed")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--bytes", type=int, default=18 * 2**20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sums", type=int, default=20, help="in a burst")
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    tcp = "tcp://127.0.0.1"
    gloo = "gloo, fp32"
    counted = "ring over tcp, fp32"
    sides = {
        gloo: Gloo(options.ranks, options.bytes),
        counted: Ring(options.program, options.ranks, options.bytes, "f32", tcp),
        "ring over tcp, fp32, CURVE": Ring(options.program, options.ranks, options.bytes, "f32", tcp, "keys"),
        "ring over tcp, bf16": Ring(options.program, options.ranks, options.bytes, "bf16", tcp),
        "ring over ipc, fp32": Ring(options.program, options.ranks, options.bytes, "f32", "ipc://"),
        "ring in shared memory, fp32": Ring(options.program, options.ranks, options.bytes, "f32", "ipc://@"),
    }
    for side in sides.values():
        side.burst(options.sums)
    rounds = [{name: side.burst(options.sums) for name, side in sides.items()} for _ in range(options.rounds)]
    for side in sides.values():
        side.close()

    result = {}
    for name in sides:
        ms, cpu_ms = (median(each[name][key] for each in rounds) for key in ("ms", "cpu_ms"))
        ratios = [each[gloo]["ms"] / each[name]["ms"] for each in rounds]
        result[name] = {"ms": ms, "cpu_ms": cpu_ms, "speed": median(ratios), "least": min(ratios), "most": max(ratios)}
    if options.json:
        print(json.dumps(result))
    else:
        print(f"| all-reduce of {options.bytes / 2**20:g} MiB, {options.ranks} processes | ms | CPU-ms "
              "| speed, gloo = 1 | rounds |")
        print("|---|---|---|---|---|")
        for name, side in result.items():
            print(f"| {name} | {side['ms']:.1f} | {side['cpu_ms']:.1f} | {side['speed']:.2f} | "
                  f"{side['least']:.2f} to {side['most']:.2f} |")
    speed = result[counted]["speed"]
    if speed < options.target:
        sys.exit(f"the ring has {speed:.2f} times gloo's speed; the target is {options.target:g}")


if __name__ == "__main__":
    main()
