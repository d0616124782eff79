"""A platform of the cloud that is none: Perceval's own client talks to it, and it simulates."""

import json
from copy import deepcopy

import perceval as pcvl
import requests
from perceval.providers.rpc_based_communication_layer import RPCBasedCommunicationLayer
from perceval.runtime import CommandFactory
from perceval.serialization import deserialize, serialize


class FakeHandler:
    """What Perceval calls an RPC handler.

    `troubles` holds exceptions, by the name of the method: each call raises the next, None passes.
    """

    name = "sim:fake"

    def __init__(self, constraints=None, room=2, architecture=None, noise=None):
        self.constraints, self.room, self.noise = constraints or {}, room, noise
        self.architecture = architecture
        self.jobs, self.troubles, self.waiting = {}, {}, {}
        self.sent = []  # the values of each row that has ever been sent
        self.status = {}

    def _trouble(self, method):
        for trouble in self.troubles.get(method, [None])[:1]:
            self.troubles[method] = self.troubles.get(method, [None])[1:]
            if trouble is not None:
                raise trouble

    def fetch_platform_details(self):
        specs = pcvl.PlatformSpecs()
        specs.constraints = self.constraints
        specs.commands = [CommandFactory.sample_count, CommandFactory.probs]
        if self.architecture is not None:
            specs.architecture = self.architecture
        return {"status": "available", "type": "simulator", "specs": serialize(specs), "perfs": {}}

    def create_job(self, data):
        self._trouble("create_job")
        data = deserialize(data)
        computation = deserialize(data["payload"]["computation"])
        number = f"job{len(self.jobs)}"
        self.jobs[number] = computation
        self.waiting[number] = 1
        self.sent += [tuple(row["circuit_params"].items()) for row in computation.iterations]
        self._trouble("created")
        return number

    def get_job_status(self, job):
        self._trouble("get_job_status")
        self.waiting[job] -= 1
        there = self.waiting[job] < 0
        status = self.status.get(job, "completed" if there else "running")
        return {
            "status": status, "progress": 1.0, "progress_message": "", "status_message": "broken",
            "creation_datetime": 0.0, "start_time": 0.0, "duration": 1,
        }  # fmt: skip

    def get_job_results(self, job):
        self._trouble("get_job_results")
        computer = pcvl.SimulatedComputer("SLOS")
        if self.noise is not None:
            computer.noise = self.noise
        results = computer.execute(deepcopy(self.jobs[job]))
        return {"results": json.dumps(serialize(results))}

    def get_job_availability(self):
        self._trouble("get_job_availability")
        unfinished = sum(left >= 0 for left in self.waiting.values())
        return {"max_jobs_in_queue": self.room, "num_jobs_in_queue": unfinished}


class FakePlatform(RPCBasedCommunicationLayer):
    """As `QuandelaCommunicationLayer`, which makes a handler of its own."""

    def get_availability(self):
        found = self._rpc_handler.get_job_availability()
        return found["max_jobs_in_queue"] - found["num_jobs_in_queue"]


def fake_computer(handler):
    return pcvl.RemoteComputer(FakePlatform(handler))


def refused():
    return requests.exceptions.ConnectTimeout("no route")


def lost_answer():
    return requests.exceptions.ReadTimeout("read timed out")
