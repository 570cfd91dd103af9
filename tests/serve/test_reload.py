#!/usr/bin/python3
"""A queue under load gets a new checkpoint again and again. No request fails, all texts of a request come from one
checkpoint, and a checkpoint always gives a text the same translation. $LSTMQ_FULL judges latency too."""

import os
import shutil
import threading

from support.serving import FULL, ServeTest, main, share
from support.training import TINY

RELOADS = 30 if FULL else 4
EVERY_S = 1.0
SLOWER = 1.5


class Reload(ServeTest):
    model_options = {**TINY, "train.epochs": 4, "train.checkpoint_every": 5, "train.keep": 1000}

    def checkpoints(self):
        """A run with its first checkpoint, and the names of the others, which are in the folder `from`."""
        model = self.model()
        names = sorted(name for name in os.listdir(model) if name.startswith("step-"))
        run = os.path.join(self.folder, "run")
        os.makedirs(run)
        self.add(model, run, names[0])
        return model, run, names[1:]

    @staticmethod
    def add(model, run, name):
        partial = os.path.join(run, f".{name}.partial")
        shutil.copytree(os.path.join(model, name), partial)
        os.rename(partial, os.path.join(run, name))
        for link in ("latest", "best"):
            new = os.path.join(run, f".{link}.new")
            os.symlink(name, new)
            os.rename(new, os.path.join(run, link))

    def one_checkpoint_each(self, load):
        seen = {}
        for sent in load.sent:
            answer = sent.answers[0][1]
            for text, result in zip(sent.texts, answer.texts):
                self.assertEqual(seen.setdefault((answer.model, text), result), result, (answer.model, text))
        return {model for model, _ in seen}

    def test_hot_reload_fails_no_request(self):
        model, run, names = self.checkpoints()
        sentences = self.sentences(300)
        queue = self.queue("--model", run, serve__follow="latest", serve__check_every=0.1, serve__workers=2).start()
        load = self.load(queue.endpoint, lambda number: [sentences[(5 * number + i) % 300] for i in range(3)], rate=100)
        load.answered(100)
        calm = share(load.times(), 0.99)
        steps = []
        for name in names[:RELOADS]:
            mark = queue.process.mark()
            self.add(model, run, name)
            steps.append(int(name.removeprefix("step-")))
            queue.process.event("model_current", mark, model=lambda text, step=steps[-1]: f"step-{step} " in text)
            threading.Event().wait(EVERY_S if FULL else 0.1)
        load.answered(load.count() + 50)
        load.finish()
        self.nothing_went_wrong(load)
        models = self.one_checkpoint_each(load)
        self.assertGreaterEqual(len(models), len(steps) if FULL else 2, models)
        busy = share(load.times(), 0.99)
        self.say(f"{len(steps)} reloads: p99 {busy * 1e3:.1f} ms, before {calm * 1e3:.1f} ms")
        if FULL:
            self.assertLessEqual(busy, SLOWER * calm)


if __name__ == "__main__":
    main()
