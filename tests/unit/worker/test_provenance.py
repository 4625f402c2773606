"""Every picture says that a model made it, in each format, whatever its source said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from jobs import pictures
from jobs.ids import new_job_id
from jobs.model import EditRequest, Job, OutputFormat, Priority, ServedModel
from jobs.states import JobState
from worker.attempt.provenance import AIGC, IPTC, OURS, RDF, SOURCE_TYPE, Labeller

MODEL = ServedModel(name="m", revision="r1", profile_group="default", profiles=("quality",))
LABELLER = Labeller(model=MODEL, producer="示例公司")
KEPT = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    b' Iptc4xmpExt:DigitalSourceType="digitalCapture">'
    b"<dc:rights>kept</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta>"
)
DOCTYPE = b'<!DOCTYPE a [<!ENTITY b "bb">]>'


def job() -> Job:
    return Job(
        id=new_job_id(),
        tenant="t",
        state=JobState.RUNNING,
        request=EditRequest(pictures=("a" * 64,), instruction="make it red"),
        queue=MODEL.queue,
        priority=Priority.NORMAL,
        idempotency_key="k",
        created_at=datetime.now(UTC),
    )


def said(packet: bytes, name: str) -> list[str | None]:
    return [element.text for element in ET.fromstring(packet).iter(name)]


@pytest.mark.parametrize("output_format", list(OutputFormat))
def test_every_format_carries_both_labels(output_format: OutputFormat) -> None:
    one = job()
    data = pictures.encode(
        Image.new("RGB", (32, 32)), output_format, xmp=LABELLER.packet(one, None)
    )

    packet = pictures.xmp_of(data, name="out")
    assert packet is not None
    assert said(packet, f"{{{IPTC}}}DigitalSourceType") == [SOURCE_TYPE]
    (label,) = said(packet, f"{{{AIGC}}}AIGC")
    assert json.loads(str(label)) == {
        "Label": "1",
        "ContentProducer": "示例公司",
        "ProduceID": str(one.id),
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    assert said(packet, f"{{{OURS}}}Revision") == ["r1"]


def test_the_sources_own_words_are_kept_and_its_origin_is_replaced() -> None:
    packet = LABELLER.packet(job(), KEPT)

    assert said(packet, "{http://purl.org/dc/elements/1.1/}rights") == ["kept"]
    assert said(packet, f"{{{IPTC}}}DigitalSourceType") == [SOURCE_TYPE]
    assert b"digitalCapture" not in packet


def test_the_same_job_is_labelled_in_the_same_bytes() -> None:
    """A second attempt's file is the first one's."""
    one = job()

    assert LABELLER.packet(one, KEPT) == LABELLER.packet(one, KEPT)
    assert LABELLER.packet(one, KEPT) != LABELLER.packet(job(), KEPT)


def test_labelling_again_says_everything_once() -> None:
    one = job()

    twice = LABELLER.packet(one, LABELLER.packet(one, KEPT))

    assert len(said(twice, f"{{{AIGC}}}AIGC")) == 1
    assert len(said(twice, f"{{{OURS}}}Job")) == 1


@pytest.mark.parametrize(
    "hostile",
    [
        b"not xml",
        b"<a/>",
        b"\xff\xfe\x00",
        KEPT[:100],
        DOCTYPE + KEPT,
        (DOCTYPE + KEPT).decode().encode("utf-16-be"),
        b'<?xml version="1.0" encoding="cp037"?>'.decode().encode("cp037")
        + (DOCTYPE + KEPT).decode().encode("cp037"),
        KEPT.replace(b"kept", b"x" * 70_000),
        KEPT.replace(b"kept", b">" * 50_000),  # four times as long once it is written anew
    ],
)
def test_a_packet_that_is_none_is_left_out(hostile: bytes) -> None:
    packet = LABELLER.packet(job(), hostile)

    assert said(packet, f"{{{IPTC}}}DigitalSourceType") == [SOURCE_TYPE]
    assert len(packet) < 3_000
    assert len(list(ET.fromstring(packet).iter(f"{{{RDF}}}Description"))) == 1


def test_a_picture_without_a_label_says_nothing() -> None:
    data = pictures.encode(Image.new("RGB", (32, 32)), OutputFormat.PNG)

    assert pictures.xmp_of(data, name="out") is None
    assert Image.open(BytesIO(data)).info == {}
