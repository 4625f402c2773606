"""What every engine promises.  Subclass it with an ``engine`` fixture."""

from __future__ import annotations

from threading import Thread

import pytest
from PIL import Image

from jobs.errors import Permanent
from jobs.model import EditRequest
from worker.engine.base import Edit, Engine, Interrupted, edited

SOURCE = Image.new("RGB", (201, 99), "navy")
REFERENCE = Image.new("RGB", (60, 80), "orange")


def quietly(_done: int, _total: int) -> None:
    """Nobody watches."""


class EngineConformance:
    def asked(
        self, engine: Engine, instruction: str = "make it red", **choices: object
    ) -> EditRequest:
        return EditRequest(
            pictures=("0" * 64,),
            instruction=instruction,
            model=engine.model.name,
            steps=2,
            **choices,  # type: ignore[arg-type]  # whatever a request has
        )

    def ready(self, engine: Engine, instruction: str = "make it red", seed: int = 1) -> Edit:
        return engine.prepare([SOURCE, REFERENCE], self.asked(engine, instruction), seed=seed)

    def test_the_same_arguments_give_the_same_pixels_and_others_do_not(
        self, engine: Engine
    ) -> None:
        one, two, other, seed = (
            self.ready(engine, *choices).on_card(quietly).tobytes()
            for choices in ((), (), ("make it blue",), ("make it red", 2))
        )

        assert one == two
        assert len({one, other, seed}) == 3

    def test_what_is_prepared_beside_an_edit_changes_neither(self, engine: Engine) -> None:
        """The next job's sizes and tokens are made while the card works."""
        alone = [self.ready(engine, text).on_card(quietly) for text in ("red", "blue" * 9)]
        first, beside = self.ready(engine, "red"), []

        def prepare_next(done: int, _total: int) -> None:
            if done == 1:
                thread = Thread(target=lambda: beside.append(self.ready(engine, "blue" * 9)))
                thread.start()
                thread.join()

        together = [first.on_card(prepare_next), beside[0].on_card(quietly)]

        assert [one.tobytes() for one in together] == [one.tobytes() for one in alone]

    def test_an_edit_can_be_made_again(self, engine: Engine) -> None:
        """Whatever the first try did to it: that one may have ended early."""
        edit = self.ready(engine)
        fresh = edit.on_card(quietly)

        def stop(done: int, _total: int) -> None:
            if done == 1:
                raise Interrupted

        with pytest.raises(Interrupted):
            edit.on_card(stop)

        assert edit.on_card(quietly).tobytes() == fresh.tobytes()

    def test_an_order_to_end_is_obeyed_between_the_pictures_that_are_prepared(
        self, engine: Engine
    ) -> None:
        fresh = self.ready(engine).on_card(quietly)
        asked: list[int] = []

        def stop() -> None:
            asked.append(1)
            if len(asked) == 2:
                raise Interrupted

        with pytest.raises(Interrupted):
            engine.prepare([SOURCE, REFERENCE], self.asked(engine), seed=1, ask=stop)

        assert self.ready(engine).on_card(quietly).tobytes() == fresh.tobytes()

    def test_every_step_is_told_to_its_end(self, engine: Engine) -> None:
        told: list[tuple[int, int]] = []

        self.ready(engine).on_card(lambda *pair: told.append(pair))

        assert told == sorted(told)
        assert told[-1] == (2, 2)

    @pytest.mark.parametrize(
        ("size", "wanted"), [("auto", None), ("source", (201, 99)), ("77x140", (77, 140))]
    )
    def test_a_picture_gets_the_size_that_was_asked_for(
        self, engine: Engine, size: str, wanted: tuple[int, int] | None
    ) -> None:
        edit = engine.prepare([SOURCE], self.asked(engine, size=size), seed=1)
        made = edit.on_card(quietly)
        made.info["note"] = 1

        final = edit.finish(made)

        assert final.mode == "RGB"
        assert final.size == (wanted or made.size)
        assert final.info["note"] == 1  # what the engine tells of a picture stays with it

    @pytest.mark.parametrize("count", [0, 4])
    def test_a_wrong_number_of_pictures_is_refused_before_the_card(
        self, engine: Engine, count: int
    ) -> None:
        with pytest.raises(Permanent, match=f"pictures: 1 to 3, got {count}"):
            engine.prepare([SOURCE] * count, self.asked(engine), seed=1)

    def test_made_in_one_go_it_is_the_same_picture(self, engine: Engine) -> None:
        whole = edited(engine, [SOURCE, REFERENCE], self.asked(engine), seed=1)

        assert whole.tobytes() == self.ready(engine).on_card(quietly).tobytes()
