"""The course of a training by the clock: simulated trainings, whose steps and validations take given times."""

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

import pixelwise as pw
from pixelwise.training.course import Course, TimedCourse, make_course
from pixelwise.training.optim import build_lr_schedule, onecycle_factor


class OneProcess:
    """The part of Fabric that a course uses."""

    world_size, is_global_zero, device = 1, True, torch.device("cpu")


class Simulation:
    """A training whose times are given.

    Args:
        monkeypatch: replaces the clock.
        budget: seconds of the time budget.
        step: seconds of a step.
        validation: seconds of a validation.
        steps: number of steps of an epoch.
        start: seconds before the first step.
        epoch_end: seconds of the work after an epoch.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, budget: float, step: float, validation: float, steps: int,
        start: float = 5.0, epoch_end: float = 0.5,
    ) -> None:  # fmt: skip
        self.now = 1000.0
        monkeypatch.setattr("pixelwise.training.course.time.monotonic", lambda: self.now)
        course = make_course(make_config(budget))
        assert isinstance(course, TimedCourse)
        self.course = course
        self.times = step, validation, epoch_end
        self.steps, self.start = steps, start
        self.fractions: list[float] = []
        self.validated: list[bool] = []

    def run(self, slower_after: float = float("inf"), factor: float = 1.0) -> float:
        """Train, and return the seconds. After `slower_after` seconds, everything takes `factor` times as long."""
        step, validation, epoch_end = self.times

        def spend(seconds: float) -> None:
            self.now += seconds * (factor if self.course.seconds > slower_after else 1.0)

        self.now += self.start
        self.course.start(OneProcess(), validation_steps=validation / step)  # type: ignore[arg-type]
        epoch = 0
        while self.course.starts_epoch(epoch):
            for _ in range(self.steps):
                spend(step)
                self.course.advance()
                self.fractions.append(self.course.fraction)
                if self.course.is_over:
                    break
            self.validated.append(self.course.validates(epoch + 1))
            if self.validated[-1]:
                before = self.course.seconds
                spend(validation)
                self.course.record_validation(self.course.seconds - before)
            spend(epoch_end)
            self.course.record_epoch_end(epoch_end)
            epoch += 1
        self.now += 2 * epoch_end  # as much as is reserved
        return self.course.seconds


def make_config(budget: float | None = None) -> pw.Config:
    return pw.Config(encoder_weights="none", epochs=8, encoder_training="decoder-first", time_budget=budget)


CASES: dict[str, dict[str, Any]] = {
    "many epochs": {"budget": 300, "step": 0.1, "validation": 1.0, "steps": 20},
    "less than one epoch": {"budget": 120, "step": 0.5, "validation": 4.0, "steps": 10_000},
    "long validation": {"budget": 120, "step": 0.2, "validation": 30.0, "steps": 20},
    "two epochs and a half": {"budget": 100, "step": 0.2, "validation": 5.0, "steps": 170},
    "long steps": {"budget": 90, "step": 2.0, "validation": 3.0, "steps": 7},
}


class TestTimedCourse:
    @pytest.mark.parametrize("case", CASES)
    def test_it_ends_on_time_with_a_complete_schedule_and_a_validated_model(
        self, case: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation = Simulation(monkeypatch, **CASES[case])
        assert simulation.run() == pytest.approx(CASES[case]["budget"], rel=0.05)
        assert simulation.fractions == sorted(simulation.fractions)
        assert simulation.fractions[0] < 0.1 and simulation.fractions[-1] == 1.0
        assert simulation.fractions[-2] > 0.9, "the schedule does not end with a jump"
        assert simulation.validated[-1], "the last model is validated"

    def test_validations_take_at_most_a_tenth_of_the_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        simulation = Simulation(monkeypatch, **CASES["many epochs"])  # 1 s for a validation, and 2 s for an epoch
        simulation.run()
        *validated, last = simulation.validated
        assert 27 <= sum(validated) <= 30 and last
        assert True in validated[:4] and True in validated[-4:], "they are spread over the time"
        short = Simulation(monkeypatch, **CASES["many epochs"] | {"validation": 0.1})
        short.run()
        assert all(short.validated)

    @pytest.mark.parametrize("factor", [0.3, 3.0])
    def test_it_ends_on_time_if_the_speed_changes(self, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
        simulation = Simulation(monkeypatch, **CASES["many epochs"])
        assert simulation.run(slower_after=150, factor=factor) == pytest.approx(300, rel=0.05)
        middle = simulation.fractions[len([f for f in simulation.fractions if f < 0.5])]
        assert middle == pytest.approx(0.5, abs=0.05)

    def test_the_fraction_is_that_of_the_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        simulation = Simulation(monkeypatch, budget=100, step=0.1, validation=1e-3, steps=10_000, start=0, epoch_end=0)
        simulation.run()
        steps = len(simulation.fractions)
        assert steps == pytest.approx(1000, rel=0.01)
        for position in (0.1, 0.25, 0.7):
            assert simulation.fractions[round(position * steps)] == pytest.approx(position, abs=0.01)

    def test_time_that_was_spent_before_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        simulation = Simulation(monkeypatch, **CASES["many epochs"])
        simulation.course.resume(200)
        assert simulation.course.fraction == pytest.approx(200 / 300)
        assert simulation.run() == pytest.approx(300, rel=0.05)
        assert simulation.now == pytest.approx(1100, abs=10)
        assert simulation.fractions[0] > 0.66

    def test_a_budget_that_is_over_gives_one_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        simulation = Simulation(monkeypatch, budget=3, step=1.0, validation=1.0, steps=20, start=10)
        simulation.run()
        assert simulation.fractions == [1.0] and simulation.validated == [True]

    @pytest.mark.parametrize(
        ("kept_versions", "view", "end"),
        [(0, "whole", 0.175 / 0.925), (2, "whole", 0.0875 / 0.8375), (2, "tiles", 0.175 / 0.925)],
    )
    def test_the_decoder_trains_alone_in_the_first_quarter_of_the_steps(
        self, kept_versions: int, view: str, end: float
    ) -> None:
        """A step takes 0.7 times as long without the gradients of the encoder, and 0.35 times with kept features."""
        config = make_config(100).replace(kept_versions=kept_versions, view=view)
        course = TimedCourse(config)
        for course.fraction, expected in ((0.0, True), (end - 0.001, True), (end + 0.001, False)):
            assert course.trains_decoder_only(99) is expected
        assert not TimedCourse(config.replace(encoder_training="all")).trains_decoder_only(0)

    def test_the_position_counts_steps_of_all_phases(self) -> None:
        """25 of 100 steps take 0.35 · 0.25, 35 take 0.25, and 40 take 1: 2.1875, 8.75 and 40 of 50.9375 s."""
        config = make_config(100).replace(image_size=128, start_size=64, kept_versions=2)
        course = TimedCourse(config)
        times = [0.0, 2.1875 / 50.9375, 10.9375 / 50.9375, 30.9375 / 50.9375, 1.0]
        for course.fraction, position in zip(times, [0.0, 0.25, 0.6, 0.8, 1.0], strict=True):
            assert course.position == pytest.approx(position)


def test_the_process_with_rank_zero_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    class Second(OneProcess):
        """A process with rank 1. Process 0 has the fraction 0.4 and continues."""

        world_size, is_global_zero = 2, False

    def all_reduce_sum(fabric: object, values: torch.Tensor) -> torch.Tensor:
        assert values.tolist() == [0.0, 0.0], "this process adds nothing"
        return values + torch.tensor([0.4, 0.0])

    monkeypatch.setattr("pixelwise.training.course.all_reduce_sum", all_reduce_sum)
    course = TimedCourse(make_config(1e-3))  # over, by its own clock
    course.start(Second(), 1.0)  # type: ignore[arg-type]
    course.advance()
    assert course.fraction == pytest.approx(0.4) and not course.is_over


def test_a_course_of_epochs() -> None:
    course = make_course(make_config())
    assert type(course) is Course
    assert [course.starts_epoch(epoch) for epoch in (0, 7, 8)] == [True, True, False]
    assert [course.trains_decoder_only(epoch) for epoch in (0, 1, 2)] == [True, True, False]
    assert course.validates(1) and not course.is_over


def test_epochs_between_are_not_validated_and_the_last_is(monkeypatch: pytest.MonkeyPatch) -> None:
    course = make_course(make_config().replace(validate_every=3))
    assert [course.validates(epoch) for epoch in range(1, 9)] == [False, True, False, False, True, False, False, True]
    simulation = Simulation(monkeypatch, **CASES["many epochs"] | {"validation": 0.1})
    simulation.course.config = simulation.course.config.replace(validate_every=3)
    simulation.run()
    *validated, last = simulation.validated
    assert last and validated == [epoch % 3 == 0 for epoch in range(1, len(validated) + 1)]


class TestSchedule:
    def test_it_has_the_curve_of_onecycle(self) -> None:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        schedule = OneCycleLR(optimizer, 0.1, total_steps=1001, pct_start=0.25, cycle_momentum=False)
        for step in range(1000):
            rise = 0.25 * 1001 - 1  # torch's peak is a step earlier
            fraction = 0.25 * step / rise if step < rise else 0.25 + 0.75 * (step - rise) / (1000 - rise)
            assert schedule.get_last_lr()[0] == pytest.approx(0.1 * onecycle_factor(fraction), rel=1e-6, abs=1e-9)
            optimizer.step()
            schedule.step()

    def test_it_follows_the_course(self) -> None:
        course = TimedCourse(make_config(100))
        config = make_config(100).replace(lr=0.1)
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.05)]
        optimizer = torch.optim.AdamW(groups)
        schedule = build_lr_schedule(optimizer, config, 10, course)
        assert schedule.get_last_lr() == pytest.approx([0.1 / 25, 0.05 / 25])
        peak, middle = 0.175 / 0.925, (0.175 + 0.375) / 0.925  # after 25 and 62.5 % of the steps
        for course.fraction, factor in ((peak, 1.0), (middle, 0.5), (1.0, 1 / 25e4)):
            optimizer.step()
            schedule.step()
            assert schedule.get_last_lr() == pytest.approx([0.1 * factor, 0.05 * factor], rel=1e-4)


class TestStartSize:
    """Images are smaller at the start of the training."""

    def test_in_the_first_epochs(self) -> None:
        course = Course(pw.Config(image_size=128, start_size=96, epochs=10))
        assert [course.uses_start_size(epoch) for epoch in range(10)] == [True] * 6 + [False] * 4
        assert not Course(pw.Config(image_size=128, start_size=96, epochs=1)).uses_start_size(0), (
            "the last epoch is full"
        )
        assert not Course(pw.Config(image_size=128, epochs=10)).uses_start_size(0)

    @pytest.mark.parametrize(("fraction", "is_small"), [(0.0, True), (0.428, True), (0.429, False), (1.0, False)])
    def test_by_the_clock(self, fraction: float, is_small: bool) -> None:
        """60 of 100 steps take half as long as the others: 30 of 70 seconds."""
        course = make_course(
            pw.Config.from_preset(image_size="128x256", start_size=128, time_budget=100, encoder_training="all")
        )
        assert isinstance(course, TimedCourse)
        course.fraction = fraction
        assert course.uses_start_size(0) == is_small
