"""How near is what the head reads to the mean over a text's tokens, and what does the added layer cost?

In: nothing, or ``--model`` for pre-trained weights. Out: a table in markdown: by family, for networks of random weights
and for the packaged MiniLM, the largest deviation of the saved layer's attention from the masked mean in fp32, the
least cosine of what stands at the first position with the mean (as layer norm leaves it) in fp32, bf16 and int8, by
`SCALE`; and the seconds that the short form adds to a forward pass.

    python benchmarks/pooling.py --result benchmarks/results/2026-11-29-pooling.md
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity, layer_norm
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from secondcoder.environment import machine, versions
from secondcoder.model import pooling
from secondcoder.model.families import BY_TYPE
from secondcoder.model.pretrained import load_pretrained

SCALES = (8.0, 64.0, 256.0)
SIZE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
FAMILIES = {
    "bert": SIZE,
    "distilbert": {"dim": 384, "n_layers": 6, "n_heads": 12, "hidden_dim": 1536},
    "roberta": SIZE,
    "xlm-roberta": SIZE,
    "camembert": SIZE,
    "electra": SIZE,
    "deberta": SIZE | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": SIZE
    | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 256, "share_att_key": True},
}
TOKENS, TEXTS = 48, 8


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    here, known = machine(), versions()
    lines = [
        "# What the head reads with `--pooling mean`",
        "",
        f"`benchmarks/pooling.py`, {here.get('processor')}, {here.get('cores')} cores; torch {known['torch']}, "
        f"transformers {known['transformers']}. {TEXTS} rows of 5 to {TOKENS} tokens; networks of 6 layers and 384 "
        "features, weights drawn; MiniLM: the packaged one. Deviation: of the saved layer's attention from the masked "
        "mean, fp32, largest. Cosine: of the first position of the saved layer with the layer norm of the mean, least "
        "of all rows.",
        "",
        "| network | scale | deviation | cosine, fp32 | bf16 | int8 |",
        "|---|---|---|---|---|---|",
    ]
    torch.set_num_threads(1)  # small batches: threads would wait for each other
    with torch.inference_mode():
        for name, make in networks():
            for scale in SCALES:
                lines.append(f"| {name} | {scale:g} | {' | '.join(measured(make(), scale))} |")
        lines += ["", *cost()]
    options.result.write_text("\n".join(lines) + "\n", encoding="utf-8")


def networks() -> Iterator[tuple[str, object]]:
    """Yield names, and what makes a network with a head."""
    yield "MiniLM", lambda: load_pretrained("minilm", label_names=("a", "b"), seed=0, attention_dropout=0.0).network
    for name, size in FAMILIES.items():
        torch.manual_seed(0)
        config = AutoConfig.for_model(name, vocab_size=1000, num_labels=2, **size)
        yield name, lambda config=config: AutoModelForSequenceClassification.from_config(config)


def inputs() -> dict[str, torch.Tensor]:
    """Return rows of random tokens, padded."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.linspace(5, TOKENS, TEXTS).long()
    mask = (torch.arange(TOKENS) < lengths[:, None]).long()
    return {
        "input_ids": torch.randint(5, 999, (TEXTS, TOKENS), generator=generator) * mask + (1 - mask),
        "attention_mask": mask,
    }


def measured(network: PreTrainedModel, scale: float) -> list[str]:
    """Return the figures of one network with the layer of that scale, written."""
    with scaled(scale):
        pooling.read_mean(network.eval())
        batch, seen = inputs(), {}
        with pooling.saved_form(network):
            layer = pooling._own_layers(network)[-1]
            (output,) = [
                m for n, m in layer.named_modules() if n.endswith(("attention.output.dense", "attention.out_lin"))
            ]
            hooks = [
                layer.register_forward_pre_hook(
                    lambda _m, given, named: seen.update(read=given[0] if given else named["hidden_states"]),
                    with_kwargs=True,
                ),
                output.register_forward_hook(lambda _m, given, _f: seen.update(mean=given[0])),
                layer.register_forward_hook(
                    lambda _m, _g, found: seen.update(out=found if torch.is_tensor(found) else found[0])
                ),
            ]
            cosines = []
            for form in ("fp32", "bf16", "int8"):
                if form == "bf16" and not BY_TYPE[network.config.model_type].computes_bf16:
                    cosines.append(None)
                    continue
                with computing(network, form) as made:
                    made(**batch)
                read, mask = seen["read"].float(), batch["attention_mask"][:, :, None].float()
                mean = (read * mask).sum(1) / mask.sum(1)
                if form == "fp32":
                    deviation = (seen["mean"][:, 0] - mean).abs().max().item()
                wanted = layer_norm(mean, mean.shape[-1:])
                cosines.append(cosine_similarity(seen["out"][:, 0].float(), wanted).min().item())
            for hook in hooks:
                hook.remove()
    return [f"{deviation:.1e}", *("–" if cosine is None else f"{cosine:.5f}" for cosine in cosines)]


@contextlib.contextmanager
def computing(network: PreTrainedModel, form: str) -> Iterator[PreTrainedModel]:
    """Yield the network, or one like it, that computes in that form."""
    if form != "int8":
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=form == "bf16"):
            yield network
        return
    # Weights rounded to 8 bits by row, as OpenVINO and others do it; activations as they are.
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    before = [m.weight.clone() for m in linear]
    for m in linear:
        step = m.weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        m.weight.copy_((m.weight / step).round() * step)
    yield network
    for m, weight in zip(linear, before, strict=True):
        m.weight.copy_(weight)


@contextlib.contextmanager
def scaled(scale: float) -> Iterator[None]:
    """Let the layer have another scale inside the block."""
    usual, pooling.SCALE = pooling.SCALE, scale
    try:
        yield
    finally:
        pooling.SCALE = usual


def cost() -> list[str]:
    """Return what the layer adds to a forward pass, in turns."""
    first, mean = (
        load_pretrained("minilm", label_names=("a", "b"), seed=0, attention_dropout=0.0, pooling=kind).network.eval()
        for kind in ("first", "mean")
    )
    lines = ["| tokens | first token, ms | mean, ms | ratio, median of 15 pairs |", "|---|---|---|---|"]
    for tokens in (16, 64, 256):
        batch = {
            "input_ids": torch.randint(5, 999, (2048 // tokens, tokens)),
            "attention_mask": torch.ones(2048 // tokens, tokens).long(),
        }
        batch["attention_mask"][0, -1] = 0
        pairs = []
        for _ in range(15):
            both = []
            for network in (first, mean):
                started = time.perf_counter()
                network(**batch)
                both.append(1000 * (time.perf_counter() - started))
            pairs.append(both)
        ratio = statistics.median(b / a for a, b in pairs)
        lines.append(f"| {tokens} | {min(a for a, _ in pairs):.1f} | {min(b for _, b in pairs):.1f} | {ratio:.3f} |")
    return lines


if __name__ == "__main__":
    main()
