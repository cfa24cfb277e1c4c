import pytest

from sagemaker_sift.trainer.schedule import EarlyStopping, learning_rate_at


def test_the_rate_drops_from_the_first_batch_after_each_step() -> None:
    rates = [learning_rate_at(epoch, initial=0.1, factor=0.1, steps=(2, 4)) for epoch in range(6)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_without_steps_the_rate_stays() -> None:
    assert learning_rate_at(99, initial=0.3, factor=0.1, steps=()) == 0.3


def stopping_epoch(
    curve: list[float], *, min_epochs: int = 1, patience: int = 2, tolerance: float = 0.0
) -> int | None:
    stopping = EarlyStopping(min_epochs=min_epochs, patience=patience, tolerance=tolerance)
    for epoch, accuracy in enumerate(curve):
        if stopping.should_stop(epoch, accuracy):
            return epoch
    return None


@pytest.mark.parametrize(
    ("curve", "options", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], {}, None),
        ([0.5, 0.5, 0.5], {}, 2),
        ([0.5, 0.4, 0.6, 0.5, 0.6], {}, 4),
        ([0.5, 0.4, 0.3, 0.2, 0.1], {"min_epochs": 4}, 3),
        ([0.5, 0.4, 0.3, 0.2, 0.1], {"min_epochs": 5}, 4),
        ([0.5, 0.5], {"patience": 1}, 1),
        ([0.0, 0.0, 0.0], {}, 2),
        ([0.5, 0.52, 0.54], {"tolerance": 0.1}, 2),
        ([0.5, 0.52, 0.58], {"tolerance": 0.1}, None),
        ([0.5, 0.52, 0.56], {"tolerance": 0.1}, 2),
        ([0.5, 0.75, 0.8], {"tolerance": 0.5, "patience": 1}, 2),
    ],
)
def test_training_stops_at_the_documented_epoch(
    curve: list[float], options: dict[str, float], expected: int | None
) -> None:
    assert stopping_epoch(curve, **options) == expected  # type: ignore[arg-type]
