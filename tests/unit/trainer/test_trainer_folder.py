from pathlib import Path

import pytest

from sagemaker_sift.trainer.data.folder import list_train_images, list_validation_images
from sagemaker_sift.trainer.errors import TrainingError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_classes_and_files_are_sorted_and_nested_files_found(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/1.JPEG", "a/sub/deep/x.PNG", "a/9.png", "B/1.jpg")
    folder = list_train_images(tmp_path, num_classes=3)
    assert folder.classes == ("B", "a", "b")
    assert [
        folder.reader.name(idx).removeprefix(f"{tmp_path}/") for idx in range(len(folder))
    ] == [
        "B/1.jpg",
        "a/9.png",
        "a/sub/deep/x.PNG",
        "b/1.JPEG",
        "b/2.jpg",
    ]
    assert folder.labels.tolist() == [0, 1, 1, 2, 2]


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/.2.jpg", "a/.trash/3.jpg", "a/notes.txt", "b/1.jpg", ".c/1.jpg")
    touch(tmp_path, "loose.jpg", ".DS_Store")
    assert len(list_train_images(tmp_path, num_classes=2)) == 2


@pytest.mark.parametrize(
    ("names", "num_classes", "message"),
    [
        ([], 2, r"Channel 'train' has no images in class folders"),
        (["a/readme.txt", "b/readme.txt"], 2, r"has no images in class folders"),
        (["1.jpg"], 2, r"images lie directly in it.*train/<class>/<image>\.jpg"),
        (["a/1.jpg"], 1, r"only one class folder, 'a'.*at least two"),
        (["a/1.jpg", "b/1.jpg"], 5, r"`num_classes` is 5, but .* has 2 class folders: 'a', 'b'"),
        (["a/1.jpg", "b/1.txt"], 2, r"class folder 'b' of channel 'train' holds no JPEG"),
    ],
)
def test_a_train_channel_that_cannot_be_trained_on_is_refused(
    tmp_path: Path, names: list[str], num_classes: int, message: str
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(TrainingError, match=message):
        list_train_images(tmp_path, num_classes=num_classes)


def test_a_long_list_of_classes_is_cut(tmp_path: Path) -> None:
    touch(tmp_path, *(f"c{idx:03d}/1.jpg" for idx in range(50)))
    with pytest.raises(TrainingError, match=r"'c019', and 30 more\. Set num_classes to 50"):
        list_train_images(tmp_path, num_classes=2)


def test_a_missing_folder_is_an_error_of_its_channel(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"channel 'train', .*nowhere, cannot be read"):
        list_train_images(tmp_path / "nowhere", num_classes=2)


def test_validation_is_labelled_by_the_classes_of_train(tmp_path: Path) -> None:
    touch(tmp_path, "c/1.jpg", "b/1.jpg")
    folder = list_validation_images(tmp_path, classes=("a", "b", "c"))
    assert folder.labels.tolist() == [1, 2]
    assert folder.classes == ("a", "b", "c")


def test_a_validation_class_that_train_lacks_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "x/1.jpg")
    with pytest.raises(TrainingError, match=r"'train' lacks: 'x'; train has 'a', 'b'"):
        list_validation_images(tmp_path, classes=("a", "b"))


def test_an_empty_validation_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Channel 'validation' has no images"):
        list_validation_images(tmp_path, classes=("a", "b"))
