"""What a caller sends to submit an edit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from fastapi import UploadFile
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, Json

from jobs import pictures
from jobs.checks import MAX_INSTRUCTION_CHARS
from jobs.errors import InvalidRequest
from jobs.model import MAX_PICTURES, OutputFormat, Priority
from producer.edits import REQUEST, TREATMENT, Edit
from producer.inputs import Picture

LONGEST_SPAN: Final = 366 * 86_400  # seconds
Seconds = Annotated[float, Field(gt=0, le=LONGEST_SPAN, allow_inf_nan=False)]


class EditForm(BaseModel):
    """A form of ``multipart/form-data``.  An unknown field is refused: it may be a misspelt one."""

    # What is left out reaches our own checks, whose messages say more than "missing".
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"required": ["image", "instruction"]}
    )

    image: list[UploadFile] = Field(
        default=[],
        description=f"The picture to edit. Repeat it for references: {MAX_PICTURES} in all.",
    )
    image_array: list[UploadFile] = Field(
        default=[], alias="image[]", description="Another spelling of a repeated `image`."
    )
    image2: UploadFile | None = Field(default=None, description="A reference picture.")
    image3: UploadFile | None = Field(default=None, description="Another reference picture.")
    instruction: str = Field(
        default="",
        validation_alias=AliasChoices("instruction", "prompt"),
        description=f"What to change, in any language: 1 to {MAX_INSTRUCTION_CHARS} characters."
        " `prompt` is another name of this field.",
        examples=["replace the white T-shirt by a black hoodie with a panda"],
    )
    model: str | None = Field(default=None, description="Left out: the server's default.")
    profile: str | None = Field(default=None, description="Left out: the server's default.")
    seed: int | None = Field(default=None, description="Left out: derived from the content.")
    steps: int | None = Field(default=None, description="Left out: the profile's.")
    true_cfg_scale: float | None = Field(default=None, description="Left out: the profile's.")
    negative: str | None = Field(default=None, description="What the picture must not show.")
    size: str = Field(default="auto", description="`auto`, `source` or `WIDTHxHEIGHT`.")
    format: OutputFormat = OutputFormat.PNG
    quality: int | None = Field(
        default=None, description=f"1 to 100, of JPEG and WebP; left out: {pictures.QUALITY}."
    )
    alpha: bool = Field(
        default=False, description="Hand the picture's transparency back (PNG and WebP)."
    )
    priority: Literal["bulk", "normal", "interactive"] = "normal"
    batch: str | None = Field(default=None, description="A name to list by.")
    metadata: Json[dict[str, str]] = Field(
        default={},
        description="A JSON object of texts, given back with the job.",
        examples=['{"sku": "TS-0042"}'],
    )
    start_within: Seconds | None = Field(
        default=None, description="Seconds; fail if no attempt has started by then."
    )
    run_limit: Seconds | None = Field(default=None, description="Seconds an attempt may run.")
    keep_for: Seconds | None = Field(default=None, description="Seconds to keep the result.")
    wait_for_model: bool = Field(
        default=False, description="Accept a model that no worker has offered yet."
    )

    def edit(self, idempotency_key: str | None) -> Edit:
        """Reads the pictures: call it where it may block.  Raises ``InvalidRequest``."""
        return Edit(
            pictures=self._pictures(),
            idempotency_key=idempotency_key,
            priority=Priority[self.priority.upper()],
            **{name: getattr(self, name) for name in ALIKE},
        )

    def _pictures(self) -> list[Picture]:
        files = list(self._files())
        if not 1 <= len(files) <= MAX_PICTURES:
            names = "".join(f", {name}" for name, _ in files)
            raise InvalidRequest(f"image: 1 to {MAX_PICTURES} pictures, got {len(files)}{names}")
        return [
            Picture(name=name, data=pictures.read_stream(file.file, name=name))
            for name, file in files
        ]

    def _files(self) -> Iterator[tuple[str, UploadFile]]:
        """With the names that errors give them; a browser's field without a file is none."""
        sent = [("image", file) for file in (*self.image, *self.image_array)]
        for field, file in (*sent, ("image2", self.image2), ("image3", self.image3)):
            if file is not None and (file.filename or file.size):
                yield file.filename or field, file


#: Fields that an ``Edit`` takes as they are.
ALIKE: Final = ((REQUEST | TREATMENT) & EditForm.model_fields.keys()) - {"priority"}
