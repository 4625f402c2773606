"""Whoever submits and asks: client library, CLI, HTTP API.

from producer import Edit, connect

with connect() as client:
    job = client.submit(Edit(pictures=["mug.jpg"], instruction="make it red"))
    client.wait(job.id)
    picture = client.result(job.id)
"""

from __future__ import annotations

from jobs.errors import JobsError
from jobs.model import Job, JobId, OutputFormat, Priority
from jobs.states import JobState
from producer.bootstrap import connect
from producer.client import Client
from producer.edits import Edit
from producer.inputs import Picture

__all__ = [
    "Client",
    "Edit",
    "Job",
    "JobId",
    "JobState",
    "JobsError",
    "OutputFormat",
    "Picture",
    "Priority",
    "connect",
]
