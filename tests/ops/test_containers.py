#!/usr/bin/python3
"""The files for Docker and Kubernetes are valid, confined, and start commands that lstmq accepts."""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import unittest

from support.program import BINARY, SKIPPED, SOURCE, dumped, main, run

try:
    import yaml
except ImportError:
    print("skipped: no python3-yaml here")
    sys.exit(SKIPPED)

DOCKER = os.path.join(SOURCE, "ops", "docker")
KUBERNETES = os.path.join(SOURCE, "ops", "kubernetes")


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


class Unrepeated(yaml.SafeLoader):
    """A loader that refuses a key that is given twice, which YAML forbids and PyYAML accepts."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def instructions():
    """The Dockerfile's (instruction, rest), continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", read(DOCKER, "Dockerfile"), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def service_dump(arguments):
    """The configuration that a container's arguments mean."""
    command, *options = arguments
    result = run(command, *options, "--dump-config")
    if (result.returncode, result.stderr) != (0, ""):
        raise AssertionError((arguments, result.stderr))
    return dumped(result.stdout)


class Docker(unittest.TestCase):
    def setUp(self):
        self.compose = yaml.load(read(DOCKER, "compose.yaml"), Unrepeated)
        self.services = self.compose["services"]

    def test_the_image_runs_without_root(self):
        users = [rest for word, rest in instructions() if word == "USER"]
        self.assertRegex(users[-1], r"^[1-9]\d*:[1-9]\d*$")
        self.assertEqual([word for word, _ in instructions()].count("FROM"), 2)

    def test_what_the_image_copies_exists(self):
        for word, rest in instructions():
            for path in rest.split()[:-1] if word == "COPY" and "--from" not in rest else ():
                self.assertTrue(os.path.exists(os.path.join(SOURCE, path)), path)

    @unittest.skipUnless(shutil.which("dpkg-query") and "bookworm" in read("/etc/os-release"), "this is not Debian 12")
    def test_the_image_has_the_libraries_of_the_program(self):
        linked = subprocess.run(["ldd", BINARY], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
        needed = subprocess.run(["objdump", "-p", BINARY], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
        image = next(rest for word, rest in instructions() if word == "RUN" and "libzmq5" in rest).split()
        for library in re.findall(r"NEEDED\s+(\S+)", needed):
            path = os.path.realpath(re.search(rf"{re.escape(library)} => (\S+)", linked)[1])
            for place in (path, path.removeprefix("/usr")):
                found = subprocess.run(["dpkg-query", "-S", place], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       encoding="utf-8", check=False).stdout
                if found:
                    break
            package = found.split(":")[0]
            self.assertIn(package, [*image, "libc6", "libgcc-s1", "libstdc++6"], library)

    def test_lines_of_the_readers_are_accepted(self):
        for name in ("Dockerfile", "compose.yaml"):
            for line in re.sub(r"\\\n#\s*", " ", read(DOCKER, name)).splitlines():
                call = re.search(r"^#   docker run .* lstmq (serve .*)$", line)
                if call:
                    service_dump(shlex.split(call[1]))

    def test_each_service_starts_a_command_that_exists(self):
        for name, service in self.services.items():
            self.assertEqual(service["image"], "lstmq")
            if "entrypoint" not in service:
                service_dump(service["command"])
            else:
                self.assertEqual(subprocess.run(["sh", "-n", "-c", service["command"][0]], check=False).returncode, 0)
                for line in re.findall(r"^lstmq (.*)$", service["command"][0], re.M):
                    self.assertEqual(run(*shlex.split(line), "--dump-config").returncode, 0, name)

    def test_the_services_fit_together(self):
        queue, worker, trainer = (service_dump(self.services[name]["command"])
                                  for name in ("queue", "worker", "trainer"))
        self.assertEqual(worker["serve.connect"], f"tcp://queue:{queue['serve.bind'].rsplit(':', 1)[1]}")
        self.assertIn(trainer["run.dir"], queue["serve.model"])
        self.assertEqual(self.services["queue"]["ports"], [f"127.0.0.1:5000:{queue['http.bind'].rsplit(':', 1)[1]}"])
        for service in self.services.values():
            for volume in service["volumes"]:
                source = volume.split(":")[0]
                self.assertTrue(source.startswith("$") or source in self.compose["volumes"], volume)

    def test_a_container_may_end_slower_than_it_drains(self):
        queue = service_dump(self.services["queue"]["command"])
        needed = float(queue["serve.drain_delay"]) + float(queue["serve.drain_timeout"])
        self.assertGreater(float(self.services["queue"]["stop_grace_period"].rstrip("s")), needed)

    @unittest.skipUnless(
        shutil.which("docker") and subprocess.run(["docker", "compose", "version"], stdout=subprocess.DEVNULL,
                                                  stderr=subprocess.DEVNULL, check=False).returncode == 0,
        "no docker compose here")
    def test_docker_accepts_the_composition(self):
        result = subprocess.run(["docker", "compose", "-f", os.path.join(DOCKER, "compose.yaml"), "config", "--quiet"],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        self.assertEqual((result.returncode, result.stdout), (0, ""))


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.objects = {}
        for path in sorted(glob.glob(os.path.join(KUBERNETES, "*.yaml"))):
            for found in yaml.load_all(read(path), Unrepeated):
                self.assertLessEqual({"apiVersion", "kind"}, set(found), path)
                if "spec" in found:
                    self.objects[found["kind"], found["metadata"]["name"]] = found
        self.pods = {name: found["spec"]["template"]["spec"] for (kind, name), found in self.objects.items()
                     if kind == "Deployment"}

    def test_the_list_names_each_file(self):
        listed = yaml.safe_load(read(KUBERNETES, "kustomization.yaml"))["resources"]
        self.assertEqual(sorted(listed + ["kustomization.yaml"]), sorted(os.listdir(KUBERNETES)))

    @unittest.skipUnless(shutil.which("kubectl"), "no kubectl here")
    def test_kubectl_builds_the_list(self):
        result = subprocess.run(["kubectl", "kustomize", KUBERNETES], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                encoding="utf-8", check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(len(list(yaml.safe_load_all(result.stdout))), len(self.objects))

    @unittest.skipUnless(shutil.which("kubernetes-validate"), "no kubernetes-validate (PyPI) here")
    def test_the_objects_fit_the_schema_of_kubernetes(self):
        files = [path for path in glob.glob(os.path.join(KUBERNETES, "*.yaml")) if "kustomization" not in path]
        result = subprocess.run(["kubernetes-validate", "--strict", *files], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_selectors_find_their_pods(self):
        for (kind, name), found in self.objects.items():
            if kind == "Deployment":
                labels = found["spec"]["template"]["metadata"]["labels"]
                self.assertEqual(found["spec"]["selector"]["matchLabels"], labels, name)
            if kind == "Service":
                pod = self.objects["Deployment", name]["spec"]["template"]
                self.assertEqual(found["spec"]["selector"], pod["metadata"]["labels"])
                ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
                self.assertEqual({port["targetPort"]: port["port"] for port in found["spec"]["ports"]}, ports)

    def test_each_container_starts_a_command_that_exists(self):
        queue = service_dump(self.pods["lstmq-queue"]["containers"][0]["args"])
        worker = service_dump(self.pods["lstmq-worker"]["containers"][0]["args"])
        ports = {port["name"]: port["port"] for port in self.objects["Service", "lstmq-queue"]["spec"]["ports"]}
        self.assertEqual(worker["serve.connect"], f"tcp://lstmq-queue:{ports['queue']}")
        self.assertEqual(queue["serve.bind"], f"tcp://0.0.0.0:{ports['queue']}")
        self.assertEqual(queue["http.bind"], f"0.0.0.0:{ports['http']}")

    def test_what_is_mounted_exists_and_is_used(self):
        for pod in self.pods.values():
            container = pod["containers"][0]
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            self.assertEqual(set(mounts), {volume["name"] for volume in pod["volumes"]})
            paths = [value for argument in container["args"] for value in re.findall(r"=(/.*)", argument)]
            for path in paths:
                self.assertTrue(any(path.startswith(place) for place in mounts.values()), path)

    def test_the_queue_is_probed_and_drains_within_its_grace(self):
        pod = self.pods["lstmq-queue"]
        container = pod["containers"][0]
        self.assertEqual({probe: container[probe]["httpGet"]["path"] for probe in
                          ("startupProbe", "livenessProbe", "readinessProbe")},
                         {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"})
        queue = service_dump(container["args"])
        ready = container["readinessProbe"]
        self.assertGreaterEqual(float(queue["serve.drain_delay"]), ready["periodSeconds"] * ready["failureThreshold"])
        self.assertGreater(pod["terminationGracePeriodSeconds"],
                           float(queue["serve.drain_delay"]) + float(queue["serve.drain_timeout"]))

    def test_pods_are_confined(self):
        for pod in self.pods.values():
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertIs(pod["automountServiceAccountToken"], False)
            for container in pod["containers"]:
                self.assertEqual(container["securityContext"], {"allowPrivilegeEscalation": False,
                                                                "readOnlyRootFilesystem": True,
                                                                "capabilities": {"drop": ["ALL"]}})
                self.assertIn("memory", container["resources"]["limits"])


if __name__ == "__main__":
    main()
