"""What an edited picture says of itself: that a model made it, which one, for which job.

Two labels that platforms and law ask for, in one XMP packet:

- IPTC digital source type ``compositeWithTrainedAlgorithmicMedia`` (IPTC NewsCodes);
- the implicit label of GB 45438-2025, annex E: property ``AIGC`` of namespace
  ``http://www.tc260.org.cn/ns/AIGC/1.0/``, JSON text with seven keys (TC260-PG-20258A).

The source's own XMP is kept and extended; of it, only these properties are replaced.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from jobs.model import Job, ServedModel

RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META: Final = "adobe:ns:meta/"
IPTC: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
AIGC: Final = "http://www.tc260.org.cn/ns/AIGC/1.0/"
OURS: Final = "urn:packshot:xmp:1.0/"
for _prefix, _uri in {
    "rdf": RDF,
    "x": META,
    "Iptc4xmpExt": IPTC,
    "TC260": AIGC,
    "packshot": OURS,
}.items():
    ET.register_namespace(_prefix, _uri)

SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
GENERATED: Final = "1"  # GB 45438-2025: made by a model, as against 2 (possibly) and 3 (suspected)
#: A JPEG holds 65,502 bytes of XMP in one piece; with a longer packet, the source's is left out.
MAX_BYTES: Final = 65_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Labeller:
    """Writes the labels of one worker's pictures."""

    model: ServedModel
    producer: str  #: name or code of the service, as the law asks for it

    def packet(self, job: Job, source: bytes | None) -> bytes:
        """The XMP of the job's picture, on top of the source's.  The same job, the same bytes."""
        tree = _readable(source)
        if tree is not None:
            packet = self._labelled(tree, job)
            if len(packet) <= MAX_BYTES:  # written anew, it may be longer than it was
                return packet
        return self._labelled(_empty(), job)

    def _labelled(self, tree: ET.Element, job: Job) -> bytes:
        description = _fresh_description(tree)
        for name, value in self._properties(job).items():
            ET.SubElement(description, name).text = value
        packet: bytes = ET.tostring(tree, encoding="utf-8")
        return packet

    def _properties(self, job: Job) -> dict[str, str]:
        return {
            f"{{{IPTC}}}DigitalSourceType": SOURCE_TYPE,
            f"{{{AIGC}}}AIGC": self._aigc(job),
            f"{{{OURS}}}Job": str(job.id),
            f"{{{OURS}}}Model": self.model.name,
            f"{{{OURS}}}Revision": self.model.revision,
        }

    def _aigc(self, job: Job) -> str:
        return json.dumps(
            {
                "Label": GENERATED,
                "ContentProducer": self.producer,
                "ProduceID": str(job.id),
                "ReservedCode1": "",
                "ContentPropagator": "",
                "PropagateID": "",
                "ReservedCode2": "",
            },
            ensure_ascii=False,
        )


def _readable(source: bytes | None) -> ET.Element | None:
    """The source's packet, if it is one.  It comes from strangers: no entity is expanded."""
    if source is None or len(source) > MAX_BYTES:
        return None
    try:
        # As text, whatever encoding it claims: in another one, "<!" would be other bytes.
        text = source.decode("utf-8").strip("\ufeff\x00 \r\n\t")
        if "<!" in text:
            return None
        tree = ET.fromstring(text)  # noqa: S314 - no <!DOCTYPE, no entities
    except (ET.ParseError, ValueError):
        return None
    return tree if _rdf(tree) is not None else None


def _empty() -> ET.Element:
    tree = ET.Element(f"{{{META}}}xmpmeta")
    ET.SubElement(tree, f"{{{RDF}}}RDF")
    return tree


def _rdf(tree: ET.Element) -> ET.Element | None:
    return tree if tree.tag == f"{{{RDF}}}RDF" else tree.find(f"{{{RDF}}}RDF")


def _fresh_description(tree: ET.Element) -> ET.Element:
    """A new description, and no other one that says what ours will say."""
    rdf = _rdf(tree)
    assert rdf is not None, "checked by _readable, made by _empty"
    for description in rdf.findall(f"{{{RDF}}}Description"):
        _forget(description)
    return ET.SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})


def _forget(description: ET.Element) -> None:
    """A property may stand as an element or as an attribute; in XMP it may stand once."""
    for child in list(description):
        if _is_ours(child.tag):
            description.remove(child)
    for name in list(description.attrib):
        if _is_ours(name):
            del description.attrib[name]


def _is_ours(name: str) -> bool:
    return name == f"{{{IPTC}}}DigitalSourceType" or name.startswith((f"{{{AIGC}}}", f"{{{OURS}}}"))
