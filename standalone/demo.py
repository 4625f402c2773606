"""``packshot demo``: real edits by the real pipeline, and a page that shows them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jobs import pictures
from jobs.errors import JobsError
from jobs.ledger import Submitted
from jobs.model import Job
from producer import Client, Picture, connect
from producer import Edit as Wanted
from standalone.process import remove_tree
from standalone.report import Edit, write_report
from standalone.system import Plan, System
from worker.engine.tiny.language import Language
from worker.engine.tiny.phrases import plain_instruction
from worker.engine.tiny.samples import Sample, sample_products

SEED: Final = 20_251
TIMEOUT: Final = timedelta(minutes=10)
#: For photographs that the caller names without saying what to do.
USUAL: Final = (("en", "change the background to white"), ("zh", "把背景换成白色"))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One edit to ask for and to show."""

    name: str
    before: Image.Image
    picture: Picture
    instruction: str
    language: str
    gloss: str = ""


@dataclass(frozen=True, kw_only=True)
class Demo:
    photos: Sequence[Path]
    console: Console
    instruction: str | None
    count: int
    out: Path
    engine: str

    def run(self) -> None:
        """Raises ``UnusablePicture`` for a photograph of the caller's, before anything starts."""
        shown = [*self._own_photos(), *_samples(self.count)]
        data = self.out / "system"
        remove_tree(data)
        plan = Plan(data_dir=data, cards=["cpu:0"], engine=self.engine, with_pages=False)
        system = System(plan)
        try:
            with self.console.status("starting Postgres, Redis, S3 and a worker"):
                system.start()
                system.wait_until_ready()
            with connect(system.settings) as client:
                edits = self._edited(client, shown)
        finally:
            with self.console.status("stopping"):
                system.stop()
                system.servers.erase()
        self._show(edits)

    def _own_photos(self) -> list[Shown]:
        asked = (("en", self.instruction),) if self.instruction else USUAL
        return [
            _photo(path, instruction, language)
            for path in self.photos
            for language, instruction in asked
        ]

    def _edited(self, client: Client, shown: Sequence[Shown]) -> list[Edit]:
        outcomes = client.submit_many(
            [Wanted(pictures=[one.picture], instruction=one.instruction) for one in shown]
        )
        accepted = [one.job.id for one in outcomes if isinstance(one, Submitted)]
        jobs = {job.id: job for job in self._watched(client, accepted)}
        return [
            _refused(one, outcome)
            if isinstance(outcome, JobsError)
            else _finished(one, jobs[outcome.job.id], client)
            for one, outcome in zip(shown, outcomes, strict=True)
        ]

    def _watched(self, client: Client, job_ids: Sequence[object]) -> Sequence[Job]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        jobs: Sequence[Job] = []
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task("editing", total=len(job_ids))
            for jobs in client.watch(job_ids, timeout=TIMEOUT):  # type: ignore[arg-type]
                progress.update(bar, completed=sum(job.progress for job in jobs))
        return jobs

    def _show(self, edits: Sequence[Edit]) -> None:
        table = Table(box=None, header_style="bold")
        for column in ("picture", "instruction", "state", "seconds"):
            table.add_column(column, no_wrap=column != "instruction")
        for edit in edits:
            seconds = f"{edit.seconds:.2f}" if edit.seconds is not None else ""
            table.add_row(edit.name, edit.instruction, edit.state, seconds)
        self.console.print(table)
        for path in write_report(edits, self.out):
            self.console.print(str(path), highlight=False, soft_wrap=True)


def _samples(count: int) -> list[Shown]:
    return [
        Shown(
            name=sample.name,
            before=sample.picture,
            picture=Picture(name=sample.name, data=_png(sample.picture)),
            instruction=sample.instruction,
            language=sample.language.value,
            gloss=_gloss(sample),
        )
        for sample in sample_products(count, SEED)
    ]


def _gloss(sample: Sample) -> str:
    if sample.language is Language.ENGLISH:
        return ""
    return plain_instruction(sample.scene, sample.edit, Language.ENGLISH)


def _photo(path: Path, instruction: str, language: str) -> Shown:
    data = pictures.read_file(path)
    return Shown(
        name=path.stem,
        before=pictures.decode(data, name=str(path)),
        picture=Picture(name=str(path), data=data),
        instruction=instruction,
        language=language,
    )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _refused(one: Shown, error: JobsError) -> Edit:
    return Edit(
        name=one.name,
        instruction=one.instruction,
        language=one.language,
        gloss=one.gloss,
        before=one.before,
        after=None,
        state="refused",
        seconds=None,
        job_id="",
        error=str(error),
    )


def _finished(one: Shown, job: Job, client: Client) -> Edit:
    after = None
    if job.result is not None:
        after = pictures.decode(client.result(job.id), name=str(job.id))
    seconds = None
    if job.started_at and job.finished_at:
        seconds = (job.finished_at - job.started_at).total_seconds()
    return Edit(
        name=one.name,
        instruction=one.instruction,
        language=one.language,
        gloss=one.gloss,
        before=one.before,
        after=after,
        state=job.state.value,
        seconds=seconds,
        job_id=str(job.id),
        error=job.failure.message if job.failure else None,
    )
