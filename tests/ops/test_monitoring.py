#!/usr/bin/python3
"""Alert rules fire where they must, and every metric of a rule or a panel is one that the queue has."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

from support.api import Server
from support.program import SKIPPED, SOURCE, main

try:
    import yaml
except ImportError:
    print("skipped: no python3-yaml here")
    sys.exit(SKIPPED)

PROMETHEUS = os.path.join(SOURCE, "ops", "prometheus")
GRAFANA = os.path.join(SOURCE, "ops", "grafana")
METRIC = re.compile(r"\b((?:lstmq|process)_\w+)(?:\{(.*?)\})?")
OF_PROMETHEUS = {"job", "instance", "le"}  # labels that are not the queue's


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def rules():
    return [rule for group in yaml.safe_load(read(PROMETHEUS, "rules.yml"))["groups"] for rule in group["rules"]]


def panels():
    return json.loads(read(GRAFANA, "dashboards", "lstmq.json"))["panels"]


def expressions():
    """Every expression of a rule or a panel, with its place."""
    yield from ((rule["alert"], rule["expr"]) for rule in rules())
    yield from ((panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", ()))


class Rules(unittest.TestCase):
    def test_each_alert_has_a_test_that_it_fires_and_one_that_it_does_not(self):
        tests = yaml.safe_load(read(PROMETHEUS, "rules_test.yml"))["tests"]
        judged = [(one["alertname"], bool(one["exp_alerts"])) for test in tests for one in test["alert_rule_test"]]
        for rule in rules():
            self.assertIn((rule["alert"], True), judged)
            self.assertIn((rule["alert"], False), judged)

    @unittest.skipUnless(shutil.which("promtool"), "no promtool here")
    def test_promtool_agrees(self):
        for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"],
                          ["test", "rules", "rules_test.yml"]):
            result = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, encoding="utf-8", check=False)
            self.assertEqual(result.returncode, 0, result.stdout)

    def test_an_alert_says_what_happened_and_what_to_do(self):
        for rule in rules():
            self.assertEqual(set(rule["annotations"]), {"summary", "description"}, rule["alert"])
            self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))


class Page(unittest.TestCase):
    """The metrics of a queue that has answered one request."""

    def setUp(self):
        server = Server(self.addCleanup).ready()
        self.assertEqual(server.post("/translate", {"q": "a", "source": "en", "target": "fr"}).status, 200)
        self.page = server.get("/metrics").body.decode()

    def labels(self, name):
        """{label: its values} of a metric on the page; None: it is not there."""
        rows = re.findall(rf"^{name}(?:\{{(.*)\}})? ", self.page, re.M)
        found = {}
        for row in rows:
            for label, value in re.findall(r'(\w+)="(.*?)"', row):
                found.setdefault(label, set()).add(value)
        return found if rows else None

    def test_each_metric_of_a_rule_or_panel_is_on_the_page(self):
        names = {match[1] for _, text in expressions() for match in METRIC.finditer(text)}
        self.assertGreater(len(names), 25)
        self.assertEqual({name for name in names if self.labels(name) is None}, set())

    def test_each_metric_of_the_page_is_in_a_panel_and_in_the_document(self):
        document = read(SOURCE, "docs", "serving.md")
        panels_only = {match[1] for panel in panels() for target in panel.get("targets", ())
                       for match in METRIC.finditer(target["expr"])}
        shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in panels_only}
        for family in re.findall(r"^# TYPE (\S+)", self.page, re.M):
            self.assertIn(f"`{family}`", document)
            self.assertIn(family, shown)

    def test_each_label_that_is_matched_has_these_values(self):
        for place, text in expressions():
            for name, matchers in METRIC.findall(text):
                for label, sign, value in re.findall(r'(\w+)(=~|!=|=)"(.*?)"', matchers):
                    if label not in OF_PROMETHEUS:
                        self.assertLessEqual(set(value.split("|")), self.labels(name).get(label, set()), (place, sign))

    def test_each_label_that_is_summed_over_exists(self):
        for place, text in expressions():
            for by, inside in re.findall(r"by \(([^)]*)\) \((.*)", text):
                name = METRIC.search(inside)[1]
                self.assertLessEqual(set(re.split(r",\s*", by)) - OF_PROMETHEUS, set(self.labels(name)), place)

    @unittest.skipUnless(shutil.which("promtool"), "no promtool here")
    def test_promtool_reads_the_page(self):
        result = subprocess.run(["promtool", "check", "metrics"], input=self.page, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        self.assertEqual((result.returncode, result.stdout), (0, ""))


class Dashboard(unittest.TestCase):
    def test_panels_have_unique_ids_and_do_not_overlap(self):
        ids, cells = set(), set()
        for panel in panels():
            self.assertNotIn(panel["id"], ids)
            ids.add(panel["id"])
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            covered = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            self.assertFalse(covered & cells, panel["title"])
            cells |= covered

    def test_panels_take_the_variables_of_the_dashboard(self):
        whole = json.loads(read(GRAFANA, "dashboards", "lstmq.json"))
        variables = {variable["name"] for variable in whole["templating"]["list"]}
        self.assertTrue(whole["uid"] and whole["schemaVersion"])
        for panel in panels():
            for target in panel.get("targets", ()):
                self.assertEqual(target["datasource"], {"type": "prometheus", "uid": "$datasource"})
                used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
                self.assertLessEqual(used, variables, target["expr"])
                for span in re.findall(r"\[(.*?)\]", target["expr"]):
                    self.assertEqual(span, "$__rate_interval", target["expr"])

    @unittest.skipUnless(shutil.which("promtool"), "no promtool here")
    def test_each_expression_is_one_of_prometheus(self):
        named = [re.sub(r"\$__rate_interval", "5m", text).replace("$job", "j").replace("$instance", "i")
                 for _, text in expressions()]
        group = {"groups": [{"name": "all", "rules": [{"record": f"a:b{i}", "expr": text}
                                                      for i, text in enumerate(named)]}]}
        result = subprocess.run(["promtool", "check", "rules", "/dev/stdin"], input=yaml.safe_dump(group),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_provisioning_is_yaml(self):
        listed = yaml.safe_load(read(GRAFANA, "provisioning", "dashboards.yaml"))
        self.assertEqual(listed["providers"][0]["type"], "file")
        self.assertEqual(yaml.safe_load(read(GRAFANA, "provisioning", "datasources.yaml"))["datasources"][0]["type"],
                         "prometheus")


if __name__ == "__main__":
    main()
