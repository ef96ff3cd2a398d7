"""Optimizer steps where something goes wrong: memory runs out, the loss is no number."""

import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch

from secondcoder.errors import ModelError
from secondcoder.evaluation.tasks import gold_of
from secondcoder.model.loading import start_model
from secondcoder.settings import TrainSettings
from secondcoder.training.activation_cache import TokenInputs
from secondcoder.training.distributed import ALONE
from secondcoder.training.steps import Stepper

PLENTY = 100_000
OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB)."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory"),
)
ROWS = np.arange(16)


@pytest.fixture
def make_stepper(encoder_folder, corpus):
    """Make a stepper over the 120 texts, in float64 without dropout: only rounding may tell two of them apart."""

    def make() -> tuple[Stepper, list[str]]:
        settings = TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32")
        model = start_model(settings, label_names=corpus.label_names, seed=1)
        model.network.double().train()
        for module in model.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        said: list[str] = []
        stepper = Stepper(
            model.network,
            dict(model.network.named_parameters()),
            TokenInputs(model.encoder, model.encoder.encode(corpus.texts)),
            gold_of(corpus, corpus.label_names),
            settings=settings,
            precision="fp32",
            token_budget=PLENTY,
            ranks=ALONE,
            say=said.append,
        )
        return stepper, said

    return make


def refuse_above(stepper: Stepper, most: int, error: Exception) -> list[int]:
    """Let memory suffice for passes of so many tokens; return the list to which others are added, by size."""
    refused = []

    def refuse(_network, _given, named):
        if named["input_ids"].numel() > most:
            refused.append(named["input_ids"].numel())
            raise error

    stepper.network.register_forward_pre_hook(refuse, with_kwargs=True)
    return refused


def weights(stepper: Stepper) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in stepper.parameters.values()])


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:20])
def test_out_of_memory_repeats_the_step_with_the_same_texts_in_smaller_passes(make_stepper, error):
    (free, _), (short, said) = make_stepper(), make_stepper()
    refused = refuse_above(short, 100, error)
    before = weights(short)
    loss, _ = free.take(ROWS, 1e-3, name="step 1")
    repeated, _ = short.take(ROWS, 1e-3, name="step 1")
    assert np.isfinite(repeated)
    assert repeated == pytest.approx(loss, abs=1e-12)
    assert float((weights(short) - weights(free)).abs().max()) < 1e-9
    assert float((weights(short) - before).abs().max()) > 1e-4
    assert all(small <= large / 2 for large, small in pairwise(refused))
    assert refused
    assert len(said) == 1
    assert "Out of memory" in said[0]
    assert "texts of a step stay the same" in said[0]


def test_what_is_said_about_memory_is_the_size_that_the_passes_have(make_stepper):
    """From a budget far above the step, halving alone would repeat the same pass again and again."""
    stepper, said = make_stepper()
    size = 16 * int(stepper.inputs.lengths[ROWS].max())
    refused = refuse_above(stepper, size - 1, OUT_OF_MEMORY[0])
    stepper.take(ROWS, 1e-3, name="step 1")
    assert refused == [size]
    assert stepper.token_budget == size // 2
    assert f"at most {size // 2} tokens" in said[0]


def test_the_smaller_budget_stays_and_nothing_more_is_said(make_stepper):
    stepper, said = make_stepper()
    refused = refuse_above(stepper, 100, OUT_OF_MEMORY[0])
    stepper.take(ROWS, 1e-3, name="step 1")
    n, budget = len(refused), stepper.token_budget
    assert budget <= 100
    stepper.take(ROWS, 1e-3, name="step 2")
    assert (len(refused), stepper.token_budget) == (n, budget)
    stepper.network.register_forward_pre_hook(lambda *_: None)
    refuse_above(stepper, 60, OUT_OF_MEMORY[0])
    stepper.take(ROWS, 1e-3, name="step 3")
    assert stepper.token_budget <= 60
    assert len(said) == 1


def test_gradients_of_passes_before_memory_ran_out_do_not_count_twice(make_stepper):
    (free, _), (short, _) = make_stepper(), make_stepper()
    short.token_budget, fails = 128, iter([False, False, True])

    def refuse_once(_network, _given, _named):
        if next(fails, False):
            raise OUT_OF_MEMORY[0]

    short.network.register_forward_pre_hook(refuse_once, with_kwargs=True)
    free.take(ROWS, 1e-3, name="step 1")
    short.take(ROWS, 1e-3, name="step 1")
    assert next(fails, "used up") == "used up"
    assert float((weights(short) - weights(free)).abs().max()) < 1e-9


def test_what_a_failed_pass_computed_is_gone_before_the_next_one(make_stepper):
    stepper, _ = make_stepper()
    computed, alive = [], []

    def keep_reference(_module, _given, output):
        computed.append(weakref.ref(output[0]))

    def refuse(_module, given):
        if len(given[0]) > 4:
            raise torch.OutOfMemoryError("made up")

    stepper.network.register_forward_pre_hook(lambda *_: alive.append(any(r() is not None for r in computed)))
    stepper.network.base_model.embeddings.register_forward_hook(lambda *given: keep_reference(*given[:2], given[2:]))
    stepper.network.classifier.register_forward_pre_hook(refuse)
    stepper.take(ROWS, 1e-3, name="step 1")
    assert len(computed) > 4
    assert not any(alive)


def test_a_single_text_that_does_not_fit_is_an_error_with_a_cure(make_stepper):
    stepper, _ = make_stepper()
    longest = int(stepper.inputs.lengths[ROWS].max())
    refused = refuse_above(stepper, longest - 1, OUT_OF_MEMORY[0])
    with pytest.raises(ModelError, match=f"a single text of {longest} tokens") as caught:
        stepper.take(ROWS, 1e-3, name="step 1")
    assert "--max-length" in caught.value.cure
    assert caught.value.__cause__ is OUT_OF_MEMORY[0]
    assert len(refused) < 10


def test_other_errors_are_passed_on(make_stepper):
    stepper, said = make_stepper()
    refused = refuse_above(stepper, 100, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        stepper.take(ROWS, 1e-3, name="step 1")
    assert len(refused) == 1
    assert said == []


def test_a_loss_that_is_no_number_moves_no_weights(make_stepper):
    stepper, _ = make_stepper()
    with torch.no_grad():
        stepper.network.classifier.bias.fill_(float("inf"))
    before = weights(stepper)
    with pytest.raises(ModelError, match=r"became nan at step 3 of 9") as caught:
        stepper.take(ROWS, 1e-3, name="step 3 of 9")
    assert "--learning-rate" in caught.value.cure
    assert torch.equal(weights(stepper), before)


def test_state_comes_back_to_the_last_bit(make_stepper):
    (one, _), (other, _) = make_stepper(), make_stepper()
    one.take(ROWS, 1e-3, name="step 1")
    with torch.no_grad():
        for name, parameter in other.parameters.items():
            parameter.copy_(one.parameters[name])
    other.restore({name: value.clone() for name, value in one.state().items()})
    for stepper in (one, other):
        stepper.take(ROWS + 16, 1e-3, name="step 2")
    assert torch.equal(weights(one), weights(other))
