#!/usr/bin/python3
"""A text on which every worker crashes gets an error for itself alone. Texts beside it are translated, and at most
three workers die. lstmq-faults crashes on a text that $LSTMQ_FAULT names."""

from support.serving import FAILED, FAULTS, ServeTest, main

POISON = "a sentence of poison"
DEATHS = 3


class Poison(ServeTest):
    def start(self, workers=2):
        queue = self.queue("--model", self.model(), binary=FAULTS, serve__workers=workers)
        return queue.start(environment={"LSTMQ_FAULT": f"translate={POISON}"})

    @staticmethod
    def deaths(queue):
        return len(queue.process.happened("translator_dead"))

    def test_poison_in_a_stream_costs_its_sender_an_error(self):
        queue, sentences = self.start(), self.sentences(300)
        others = self.load(queue.endpoint, lambda number: [sentences[number % len(sentences)]], window=32)
        others.answered(100)
        poison = self.load(queue.endpoint, lambda number: [POISON], most=1)
        poison.answered(1)
        others.answered(others.count() + 200)
        others.finish()
        self.assertEqual(poison.sent[0].answers[0][1].outcome, FAILED, queue.log())
        self.nothing_went_wrong(others)
        self.assertEqual([sent.texts for sent in others.sent if None in sent.answers[0][1].texts], [])
        self.say(f"{self.deaths(queue)} workers died")
        self.assertIn(self.deaths(queue), range(1, DEATHS + 1), queue.log())

    def test_poison_beside_others_fails_alone(self):
        queue, sentences = self.start(), self.sentences(6)
        load = self.load(queue.endpoint, lambda number: [*sentences[:3], POISON, *sentences[3:]], most=1)
        load.answered(1)
        answer = load.sent[0].answers[0][1]
        self.assertEqual(answer.outcome, 0, queue.log())
        self.assertEqual([text is None for text in answer.texts], [False] * 3 + [True] + [False] * 3)
        self.assertIn(self.deaths(queue), range(1, DEATHS + 1), queue.log())


if __name__ == "__main__":
    main()
