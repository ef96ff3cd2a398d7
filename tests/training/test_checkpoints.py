"""What a training goes on from: whole or skipped, and the same bits in the end."""

import errno
import hashlib
import json
import os
import shutil
import stat

import pytest
import torch

import secondcoder as sc
from secondcoder.errors import ModelError, StorageError
from secondcoder.progress import Progress
from secondcoder.training.checkpoints import Checkpoint, CheckpointFolder, read_best, read_checkpoint
from secondcoder.training.loop import fit
from secondcoder.training.steps import Stepper
from tests.tiny import make_rows
from tests.training.test_loop import settings_for, start, weights

FILES = ("best.safetensors", "manifest.json", "state.json", "state.safetensors", "weights.safetensors")
BREAK = 8  # the step before which the training is cut off: the third of the second epoch


class Cut(BaseException):
    """Stands for a power cut."""


class Heard(Progress):
    """Keeps what it is told."""

    def __init__(self):
        self.sentences = []

    def say(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture(scope="module")
def train_and_dev():
    corpus = sc.read([{"text": text, "area": label} for text, label in make_rows(120)], text="text", label="area")
    return corpus.take(range(80)), corpus.take(range(80, 120))


def train(settings, parts, folder, resume=False):
    """Return the weights and the history, without durations, and what was said."""
    model, heard = start(settings), Heard()
    result = fit(model, *parts, settings=settings, seed=1, checkpoints=folder, resume=resume, progress=heard)
    history = [{name: value for name, value in e.items() if "second" not in name} for e in result.history]
    return weights(model), history, heard.sentences


@pytest.fixture(scope="module")
def settings(encoder_folder):
    """Three epochs of five steps, with dropout, and a checkpoint after each step."""
    return settings_for(encoder_folder, checkpoint_minutes=0, freeze=0.5)


@pytest.fixture(scope="module")
def expected(settings, train_and_dev, tmp_path_factory):
    """What a training ends with that nobody stopped."""
    found, history, _ = train(settings, train_and_dev, tmp_path_factory.mktemp("alone"))
    return found, history


@pytest.fixture(scope="module")
def stopped(settings, train_and_dev, tmp_path_factory):
    """The checkpoints of a training that was cut off in its second epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    real, calls = Stepper.take, []

    def cut_off(self, *given, **named):
        calls.append(given)
        if len(calls) == BREAK:
            raise Cut
        return real(self, *given, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Stepper, "take", cut_off)
        with pytest.raises(Cut):
            train(settings, train_and_dev, folder)
    return folder


@pytest.fixture
def checkpoints(stopped, tmp_path):
    """A copy of them to damage; what was linked is not any more."""
    shutil.copytree(stopped, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def goes_on(settings, parts, folder, expected):
    """Resume, see that the end is the expected one, and return what was said on the way."""
    found, history, said = train(settings, parts, folder, resume=True)
    assert found.keys() == expected[0].keys()
    assert all(torch.equal(value, expected[0][name]) for name, value in found.items())
    assert history == expected[1]
    return said


def flip(path, where=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 0b10
    path.write_bytes(data)


@pytest.mark.numeric
def test_it_goes_on_from_the_newest_one_to_the_same_bits(settings, train_and_dev, checkpoints, expected):
    said = goes_on(settings, train_and_dev, checkpoints, expected)
    assert said[0] == "Resuming from step 7 of 15."


@pytest.mark.parametrize("name", FILES)
def test_one_with_a_flipped_byte_is_named_and_the_one_before_is_used(
    settings, train_and_dev, checkpoints, expected, name
):
    newest = max(checkpoints.glob("checkpoint-*"))
    flip(newest / name)
    said = goes_on(settings, train_and_dev, checkpoints, expected)
    assert said[0].startswith(f"Damaged, and skipped: {newest.name}: ")
    assert name in said[0] or name == "manifest.json"  # in which another file's hash is wrong now
    assert said[1] == "Resuming from step 6 of 15."


@pytest.mark.parametrize("name", FILES)
def test_one_that_lacks_a_file_is_named_and_the_one_before_is_used(settings, checkpoints, name):
    before, newest = sorted(checkpoints.glob("checkpoint-*"))
    (newest / name).unlink()
    found = CheckpointFolder(checkpoints)
    assert found.newest() == before
    (reason,) = found.damaged
    assert reason.startswith(f"{newest.name}: ")
    assert name in reason


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0.0, 0.5, 0.99])
def test_one_that_was_cut_short_is_skipped(checkpoints, name, length):
    before, newest = sorted(checkpoints.glob("checkpoint-*"))
    data = (newest / name).read_bytes()
    (newest / name).write_bytes(data[: int(len(data) * length)])
    assert CheckpointFolder(checkpoints).newest() == before


@pytest.mark.parametrize("content", ["null", "[]", '"text"', "{}", '{"weights.safetensors": null}'])
def test_a_manifest_that_is_none_is_skipped(checkpoints, content):
    before, newest = sorted(checkpoints.glob("checkpoint-*"))
    (newest / "manifest.json").write_text(content)
    assert CheckpointFolder(checkpoints).newest() == before


def test_with_all_of_them_damaged_training_starts_again_and_says_so(settings, train_and_dev, checkpoints, expected):
    for path in checkpoints.glob("checkpoint-*"):
        flip(path / "state.safetensors")
    said = goes_on(settings, train_and_dev, checkpoints, expected)
    assert [sentence.split(":")[0] for sentence in said[:2]] == ["Damaged, and skipped"] * 2
    assert said[2] == "There is no whole checkpoint to go on from: training starts from its beginning."


def test_what_is_damaged_does_not_come_back(settings, checkpoints):
    """Its number is given again, so it must be gone before."""
    before, newest = sorted(checkpoints.glob("checkpoint-*"))
    flip(newest / "weights.safetensors")
    folder = CheckpointFolder(checkpoints)
    folder.put_aside_after(folder.newest())
    assert sorted(checkpoints.glob("checkpoint-*")) == [before]


def test_other_data_are_refused(settings, train_and_dev, checkpoints):
    train_part, dev = train_and_dev
    with pytest.raises(ModelError, match="belong to other texts, labels or pre-trained weights") as caught:
        train(settings, (dev, train_part), checkpoints, resume=True)
    assert "another folder" in caught.value.cure
    assert len(list(checkpoints.glob("checkpoint-*"))) == 2


def test_other_frozen_weights_are_refused(settings, train_and_dev, checkpoints):
    model = start(settings)
    with torch.no_grad():
        model.network.bert.embeddings.word_embeddings.weight[7, 7] += 1
    with pytest.raises(ModelError, match="pre-trained weights"):
        fit(model, *train_and_dev, settings=settings, seed=1, checkpoints=checkpoints, resume=True)


def test_one_of_another_version_is_refused(settings, train_and_dev, checkpoints):
    newest = max(checkpoints.glob("checkpoint-*"))
    plain = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps(plain | {"format": 99}))
    manifest = json.loads((newest / "manifest.json").read_text())
    manifest["state.json"] = hashlib.sha256((newest / "state.json").read_bytes()).hexdigest()
    (newest / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="another version"):
        train(settings, train_and_dev, checkpoints, resume=True)


def test_another_number_of_threads_is_said(settings, train_and_dev, checkpoints):
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        _, _, said = train(settings, train_and_dev, checkpoints, resume=True)
    finally:
        torch.set_num_threads(before)
    assert (
        f"may differ in its last bits from a training without a break: threads was {before}, and is {before + 1}"
        in (said[0])
    )


def test_they_hold_tensors_and_json_only(stopped):
    found = {path.name for path in stopped.glob("checkpoint-*/*")}
    assert found == set(FILES)
    for path in stopped.glob("checkpoint-*/*"):
        data = path.read_bytes()
        if path.suffix == ".json":
            json.loads(data)
        else:  # the length of a header of JSON, and that header
            assert isinstance(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]), dict)


def test_only_two_are_kept(stopped):
    """Seven steps and one evaluation were saved."""
    assert [path.name for path in sorted(stopped.iterdir())] == [
        "activations.f16",
        "checkpoint-00000007",
        "checkpoint-00000008",
    ]


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


def some(value: float) -> Checkpoint:
    return Checkpoint({"a": torch.full((3,), value)}, {"b": torch.arange(4)}, {"step": value})


def test_what_is_saved_comes_back(folder):
    path = folder.save(some(1.5), is_best=True)
    found = read_checkpoint(path)
    assert torch.equal(found.weights["a"], torch.full((3,), 1.5))
    assert torch.equal(found.tensors["b"], torch.arange(4))
    assert found.plain == {"step": 1.5}


def test_the_best_weights_stay_and_are_not_written_again(folder):
    """They are links to the one file, where the file system has links."""
    best = folder.save(some(1.0), is_best=True)
    inode = (best / "weights.safetensors").stat().st_ino
    for value in (2.0, 3.0, 4.0):
        later = folder.save(some(value), is_best=False)
        assert torch.equal(read_best(later)["a"], torch.full((3,), 1.0))
        assert torch.equal(read_checkpoint(later).weights["a"], torch.full((3,), value))
        assert (later / "best.safetensors").stat().st_ino == inode
    assert folder.newest() == later
    better = folder.save(some(5.0), is_best=True)
    assert torch.equal(read_best(better)["a"], torch.full((3,), 5.0))


def test_where_there_are_no_links_the_best_weights_are_copied(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    folder.save(some(1.0), is_best=True)
    later = folder.save(some(2.0), is_best=False)
    assert torch.equal(read_best(later)["a"], torch.full((3,), 1.0))
    assert CheckpointFolder(folder.folder).newest() == later


def test_a_best_file_that_rots_takes_all_that_link_to_it_along(folder):
    """The price of not writing it again: all are skipped and named, and training starts again."""
    best = folder.save(some(1.0), is_best=True)
    folder.save(some(2.0), is_best=False)
    with (best / "best.safetensors").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"x")
    assert folder.newest() is None
    assert len(folder.damaged) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_colleagues_can_read_what_the_umask_lets_them(folder, settings, tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        folder.save(some(1.0), is_best=True)
        start(settings).save(tmp_path / "model")
    finally:
        os.umask(before)
    paths = [*folder.folder.glob("*/*"), *(tmp_path / "model").iterdir()]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths} == {path.name: expected for path in paths}


def test_a_checkpoint_that_fails_leaves_those_before(folder, monkeypatch):
    first = folder.save(some(1.0), is_best=True)
    monkeypatch.setattr(
        "secondcoder.training.checkpoints.write_json", lambda *_: (_ for _ in ()).throw(OSError(28, ""))
    )
    with pytest.raises(StorageError):
        folder.save(some(2.0), is_best=True)
    assert [path.name for path in folder.folder.iterdir()] == [first.name]
    assert folder.newest() == first


def test_clear_removes_all(folder):
    folder.save(some(1.0), is_best=True)
    folder.clear()
    assert folder.newest() is None
    assert not folder.folder.exists()


def test_a_disk_that_cannot_be_read_just_now_is_no_damage(settings, checkpoints, monkeypatch):
    """A transient error must not cost the checkpoints."""

    def refuse(path):
        raise StorageError(f"Cannot read {path}.", "Check the path.") from OSError(errno.EIO, "broken")

    before = sorted(path.name for path in checkpoints.iterdir())
    with monkeypatch.context() as broken, pytest.raises(StorageError, match="Cannot read"):
        broken.setattr("secondcoder.training.checkpoints.sha256_file", refuse)
        CheckpointFolder(checkpoints).newest()
    assert sorted(path.name for path in checkpoints.iterdir()) == before
    assert CheckpointFolder(checkpoints).newest() is not None
