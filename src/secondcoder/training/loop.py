"""The one training loop.

In: a model with an untrained head, the train and dev parts, settings. Out: the model with the weights of its best epoch
on dev, and how it came there. The test part never comes here. Stopped anywhere, it goes on as if it had not been.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.errors import InterruptedRunError
from secondcoder.evaluation.evaluate import points_of_rows
from secondcoder.evaluation.metrics import is_better
from secondcoder.evaluation.tasks import gold_of, history_names, targets_of, task_rules
from secondcoder.model.batches import training_steps
from secondcoder.model.classifier import Scores
from secondcoder.model.model import Model
from secondcoder.model.pretrained import seeded
from secondcoder.model.tokenisation import Encoded
from secondcoder.progress import Progress
from secondcoder.settings import LEAST_STEPS, TrainSettings
from secondcoder.training.checkpoints import Checkpoint, TrainingCheckpoints, deterministic, set_generators
from secondcoder.training.class_weights import resolve_weights
from secondcoder.training.contrastive import ContrastiveStepper
from secondcoder.training.distributed import ALONE, Ranks
from secondcoder.training.heads import start_from_logistic
from secondcoder.training.memory import choose_budget
from secondcoder.training.signals import Stop, StoppableProgress, Stopped, listening
from secondcoder.training.steps import Inputs, Stepper, loss_for, schedule
from secondcoder.training.text_pool import TextPool
from secondcoder.training.trainable import being_trained, hold, peak_rate, release, upper_layers


@dataclass
class Fit:
    """How a training went.

    Attributes
    ----------
    metric
        The figure on dev that chose the best epoch.
    learning_rate
        The peak rate that was used; None without steps.
    seed
        Of the head's first weights, the data order and dropout.
    best_epoch
        The epoch whose weights the model holds, counted from 1; 0 is a head that was read off the encoder, before any
        step.
    best_scores
        What the model of that epoch says about dev.
    history
        One entry per evaluation on dev.
    findings
        What the user should know about how it went.
    n_tokens : ndarray of shape (n,)
        Lengths of the train and dev texts in tokens, before truncation.
    seed_figures
        The best figure on dev of each seed, where there were several.
    class_weights
        How much a text of each class counts in the loss; None: all the same.
    """

    metric: str
    learning_rate: float | None
    seed: int
    best_epoch: int | None = None
    best_scores: Scores | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    n_tokens: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    seed_figures: dict[str, float] = field(default_factory=dict)
    class_weights: dict[str, float] | None = None

    @property
    def best(self) -> float | None:
        """The choosing figure of the best epoch."""
        found = [entry[self.metric] for entry in self.history if entry["epoch"] == self.best_epoch]
        return float(found[0]) if found else None

    def summary(self) -> dict[str, Any]:
        """Return what the run folder says about it, as plain JSON values."""
        return {
            "metric": self.metric,
            "learning_rate": self.learning_rate,
            "best_seed": self.seed,
            "best_epoch": self.best_epoch,
            "epochs_finished": max((entry["epoch"] for entry in self.history), default=0),
            "seed_figures": self.seed_figures,
            "class_weights": self.class_weights,
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass
class State:
    """How far a training has come.

    Attributes
    ----------
    step
        Optimizer steps taken.
    epoch
        The one that is under way, counted from 1.
    steps, texts
        Done in this epoch.
    loss_sum
        Of the texts done in this epoch.
    padded_tokens
        That this process computed for them.
    seconds
        Spent on them.
    """

    step: int = 0
    epoch: int = 1
    steps: int = 0
    texts: int = 0
    loss_sum: float = 0.0
    padded_tokens: int = 0
    seconds: float = 0.0

    def add(self, *, texts: int, loss: float, padded_tokens: int, seconds: float) -> None:
        """Count one more step, of so many texts with this mean loss."""
        self.step += 1
        self.steps += 1
        self.texts += texts
        self.loss_sum += loss * texts
        self.padded_tokens += padded_tokens
        self.seconds += seconds

    @property
    def loss(self) -> float:
        """Mean loss of the texts of this epoch so far."""
        return self.loss_sum / self.texts

    def entry(self, filling: float) -> dict[str, Any]:
        """Return the epoch's history entry, without figures on dev.

        Parameters
        ----------
        filling
            Real tokens as a share of the padded ones that were computed.
        """
        return {
            "epoch": self.epoch,
            "step": self.step,
            "train_loss": self.loss,
            "padding": 1 - float(filling),
            "seconds": round(self.seconds, 2),
            "texts_per_second": round(self.texts / self.seconds, 2),
        }

    def next_epoch(self) -> "State":
        """Return the state at the start of the next epoch."""
        return State(step=self.step, epoch=self.epoch + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def dev_figures(dev: Corpus, scores: Scores, metric: str) -> dict[str, float]:
    """Return the figures that go into the history: the choosing one and the usual ones."""
    evaluation = points_of_rows(dev, scores.probabilities, thresholds=dev_thresholds(dev, scores))
    return {name: evaluation.figure(name) for name in history_names(metric, dev.task)}


def dev_thresholds(dev: Corpus, scores: Scores) -> dict[str, float]:
    """Return from which probability on each class is given where a text may have several, chosen on dev; else nothing.

    Epochs are compared by what their labels would be: from 0.5 on, rare classes are given by none of the first ones.
    """
    gold = gold_of(dev, dev.label_names)
    return task_rules(dev.task).thresholds(gold, scores.probabilities, dev.label_names, None)


def describe(entry: dict[str, Any], epochs: int, metric: str) -> str:
    """Return a history entry as a sentence."""
    if not entry["epoch"]:
        return f"head read off the encoder: dev {metric} {entry[metric]:.3f}"
    return (
        f"epoch {entry['epoch']}/{epochs}: loss {entry['train_loss']:.3f}, dev {metric} {entry[metric]:.3f}, "
        f"{entry['seconds']:.0f} s, {entry['texts_per_second']:.1f} texts/s"
    )


OnEvaluation = Callable[[dict[str, Any]], None]
# So many epochs of a recipe that counts in steps are judged on dev, at equal distances, the last one among them.
_MOST_JUDGED = 4
# Of a recipe for few labels fewer dev texts choose no epoch: which one is best on them is chance, and the head as it
# starts is the first of those that are level. What is compared by cross-validation is the end, too.
_LEAST_DEV = 50


def fit(
    model: Model,
    train: Corpus,
    dev: Corpus,
    *,
    settings: TrainSettings,
    seed: int,
    checkpoints: Path,
    resume: bool = False,
    judge_each: bool = True,
    ranks: Ranks = ALONE,
    texts: TextPool | None = None,
    progress: Progress | None = None,
    on_evaluation: OnEvaluation = lambda entry: None,
) -> Fit:
    """Fine-tune the model in place and return how it went; the model ends with the weights of its best epoch.

    Parameters
    ----------
    model
        With an untrained head.
    train, dev
        What it learns from, and what chooses the best epoch. Every row has a text and a label.
    settings
        Hyper-parameters.
    seed
        Of the data order and of dropout.
    checkpoints
        Folder for checkpoints; they stay until the caller removes them.
    resume
        Go on from the newest checkpoint there that is whole, if there is one.
    judge_each
        Whether dev judges each epoch and chooses the best one; else it judges the end, which is kept in memory only.
    ranks
        The processes that train this model together.
    texts
        What other trainings on some of these texts share with this one.
    progress
        Where to show how far it has come.
    on_evaluation
        Called with each entry of the history as soon as it is saved; also with those that `resume` brings back.

    Raises
    ------
    InterruptedRunError
        If the user stopped it; everything is saved for `resume`.
    ModelError
        If the loss is no longer a finite number, or memory does not suffice.
    StorageError
        If a checkpoint cannot be written; those before are still there.
    """
    progress = progress or Progress()
    with seeded(seed + ranks.index), deterministic(settings.deterministic), listening() as stop:
        texts = texts or TextPool()
        encoded = texts.encode(model.encoder, train.texts), texts.encode(model.encoder, dev.texts)
        training = _Training(model, train, dev, encoded, settings.resolved(), seed, checkpoints, ranks, progress, stop)
        training.judge_each, training.texts = judge_each, texts
        if resume:
            training.resume()
            for entry in training.result.history:
                on_evaluation(entry)
        else:
            training.keeper.forget()
        training.run(on_evaluation)
    return training.result


class _Training:
    """One training: what stays the same through it, and how far it has come."""

    def __init__(
        self,
        model: Model,
        train: Corpus,
        dev: Corpus,
        encoded: tuple[Encoded, Encoded],
        settings: TrainSettings,
        seed: int,
        checkpoints: Path,
        ranks: Ranks,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self.model, self.train, self.dev, self.settings, self.seed = model, train, dev, settings, seed
        self.ranks, self.stop, (self.encoded, self.dev_encoded) = ranks, stop, encoded
        # Several processes must stop at the same step, so only those look whether they should.
        self.progress = StoppableProgress(progress, stop) if ranks.count == 1 else progress
        self.gold = gold_of(train, model.label_names)  # what texts are compared by
        self.targets = self.gold if settings.recipe == "contrastive" else targets_of(train, model.label_names)
        weights = resolve_weights(settings.class_weights, self.targets, model.label_names, task=dev.task)
        self.start_head = partial(start_from_logistic, model, weights=weights, progress=self.progress)
        names = task_rules(model.card.task).figures
        metric = names.resolve(settings.metric, model.card.positive, model.label_names)
        n_tokens = np.concatenate([self.encoded.full_lengths, self.dev_encoded.full_lengths])
        rate = peak_rate(model.network.config, settings)
        self.result = Fit(metric, rate, seed, n_tokens=n_tokens, class_weights=weights)
        self.frozen = hold(model.network, settings)
        # Named now, as the whole network names them: while lower layers are put aside the others have other numbers.
        self.parameters = {name: p for name, p in model.network.named_parameters() if p.requires_grad}
        self.keeper = TrainingCheckpoints(model, train, dev, self.parameters, checkpoints, ranks)
        self.state, self.epochs = State(), settings.epochs or 0
        self.n_steps = self.epochs * math.ceil(len(train) / settings.batch_size)
        self.stepper: Stepper | None = None
        self.cut, self.judge_each, self.saved_at, self.texts = False, True, time.monotonic(), TextPool()
        self.resumed: Checkpoint | None = None

    def run(self, on_evaluation: OnEvaluation) -> None:
        """Train from where it is to the end, and put the weights of the best epoch into the model."""
        try:
            if self.state.epoch <= self.epochs or not self.result.history:
                self._train(on_evaluation)
        except Stopped:
            self._leave()
        if self.judge_each:
            self.keeper.load(self.keeper.best())
        if self.ranks.leads:
            (self.keeper.folder / "activations.f16").unlink(missing_ok=True)
        if release(self.model.network):  # merged weights round otherwise, and what is judged must be what will label
            self.result.best_scores = self.model.score_encoded(self.dev_encoded)

    def _train(self, on_evaluation: OnEvaluation) -> None:
        # Of several processes each has other texts at every step; without epochs nothing is read twice.
        path = self.keeper.folder / "activations.f16" if self.ranks.count == 1 and self.epochs else None
        inputs, cut = self.texts.inputs_for(
            self.model, self.train.texts, self.encoded, self.frozen, path=path, progress=self.progress
        )
        self.cut = cut is not None
        if self.resumed and self.resumed.plain["cut"] != self.cut:
            self.progress.say("The result may differ in its last bits: frozen layers are computed in another way now.")
        if self.settings.head_start == "logistic" and not self.state.step and not self.result.history:
            judged = (self.judge_each and not self._is_dev_small) or not self.epochs
            if judged or self.settings.recipe != "contrastive":  # which learns nothing from its head
                with upper_layers(self.model.network, cut):
                    self.start_head(inputs, self.gold)
            if judged:
                self._judge({"epoch": 0, "step": 0}, on_evaluation)
        if not self.epochs:
            return
        # Processes add the same to their weights at every step, and so must start from the same bits.
        self.ranks.copy_from_leader(parameter.detach() for parameter in self.parameters.values())
        stepper = self._make_stepper(inputs)
        while self.state.epoch <= self.epochs:
            with being_trained(self.model.network, cut, self.settings):
                self._run_epoch(stepper)
            if not self._is_judged(self.state.epoch):
                self.state = self.state.next_epoch()
                continue
            if isinstance(stepper, ContrastiveStepper):  # its head has learned nothing yet
                with upper_layers(self.model.network, cut):
                    self.start_head(inputs, self.gold)
            padded_tokens = sum(self.ranks.gather(self.state.padded_tokens))
            self._judge(self.state.entry(self.encoded.lengths.sum() / padded_tokens), on_evaluation)

    @property
    def _is_dev_small(self) -> bool:
        return self.settings.recipe in LEAST_STEPS and len(self.dev) < _LEAST_DEV

    def _is_judged(self, epoch: int) -> bool:
        """Return whether dev judges an epoch, and everything is saved.

        With few labels an epoch is a step or two: judging and saving each would take longer than to learn.
        """
        if epoch == self.epochs or not self.judge_each or self._is_dev_small:
            return epoch == self.epochs
        every = math.ceil(self.epochs / _MOST_JUDGED) if self.settings.recipe in LEAST_STEPS else 1
        return (self.epochs - epoch) % every == 0

    def _make_stepper(self, inputs: Inputs) -> Stepper:
        """Return the stepper, with optimizer and random generators as they were if this training goes on."""
        network, longest = self.model.network, int(inputs.lengths.max())
        budget = choose_budget(network, self.settings, longest=longest, here=self.ranks.here, say=self.progress.say)
        self.stepper = (ContrastiveStepper if self.settings.recipe == "contrastive" else Stepper)(
            network,
            self.parameters,
            inputs,
            self.targets,
            settings=self.settings,
            precision=self.model.precision,
            token_budget=budget,
            ranks=self.ranks,
            say=self.progress.say,
            loss=loss_for(self.model.card.task, self.result.class_weights),
        )
        if self.resumed is not None and self.state.step:
            self.stepper.restore(self.resumed.tensors)
            budgets = self.resumed.plain["token_budgets"]
            before = budgets[self.ranks.index] if len(budgets) == self.ranks.count else min(budgets)
            self.stepper.token_budget = min(before, budget)  # where memory has become short, what was is too much
            set_generators(self.resumed.tensors, self.ranks)
        self.resumed = None
        return self.stepper

    def _run_epoch(self, stepper: Stepper) -> None:
        """Take every row once, from where the epoch is."""
        state = self.state
        self.model.network.train()
        self.frozen.stay_still()
        order = np.random.default_rng([self.seed, state.epoch])
        few, size = self.settings.recipe in LEAST_STEPS, self.settings.batch_size
        steps = list(training_steps(self.encoded.text_lengths, batch_size=size, generator=order, mixed=few))
        with self.progress.task(f"epoch {state.epoch}/{self.epochs}", len(self.targets)) as task:
            task.advance(state.texts)
            for rows in steps[state.steps :]:
                started = time.monotonic()
                rate = (self.result.learning_rate or 0.0) * schedule(state.step, self.n_steps, self.settings.warmup)
                loss, padded_tokens = stepper.take(rows, rate, name=f"step {state.step + 1} of {self.n_steps}")
                seconds = time.monotonic() - started
                state.add(texts=len(rows), loss=loss, padded_tokens=padded_tokens, seconds=seconds)
                task.advance(len(rows), note=f"loss {state.loss:.3f}")
                self._checkpoint_if_due()

    def _checkpoint_if_due(self) -> None:
        """Between two steps: stop if asked to, save if it is time, together with the other processes."""
        due = time.monotonic() - self.saved_at >= 60 * self.settings.checkpoint_minutes
        if self.ranks.count > 1:
            wishes = self.stop.asked, due and self.ranks.leads
            asked, due = self.ranks.any_wishes(wishes, device=self.model.backend.device)
            if asked:  # not `stop.asked`, which a signal may have set while the others were heard
                raise Stopped
        if due:
            self._save(is_best=False)

    def _judge(self, entry: dict[str, Any], on_evaluation: OnEvaluation) -> None:
        """Evaluate on dev, save, and tell."""
        result = self.result
        with self.progress.task("dev", len(self.dev)) as task:
            scores = self.model.score_encoded(self.dev_encoded, progress=task)
        entry |= dev_figures(self.dev, scores, result.metric)
        best = is_better(result.metric, entry[result.metric], result.best)
        if best:
            result.best_epoch, result.best_scores = entry["epoch"], scores
        alarm = predicts_one_class(self.dev, scores, entry["epoch"])
        result.findings = [alarm] if alarm and best else [] if best else result.findings
        result.history.append(entry)
        if entry["epoch"]:
            self.state = self.state.next_epoch()
        if self.judge_each:
            self._save(is_best=best)
        self.progress.say(describe(entry, self.epochs, result.metric))
        if alarm:
            self.progress.say(f"warning: {alarm.message}\n  {alarm.cure}")
        on_evaluation(entry)

    def _leave(self) -> None:
        """Save everything and say how to go on."""
        where = "before its next step; nothing is lost"
        if self.stepper is not None:
            self._save(is_best=False)
            where = f"at step {self.state.step} of {self.n_steps}; everything is saved"
        raise InterruptedRunError(
            f"Training was interrupted {where}.", "Go on with the same command and --resume."
        ) from None

    def resume(self) -> None:
        """Put everything back to what the newest whole checkpoint says."""
        self.resumed = self.keeper.newest(self.progress.say)
        if self.resumed is None:
            return
        plain, tensors, result, about = self.resumed.plain, self.resumed.tensors, self.result, self.dev_encoded
        self.keeper.load(self.resumed.weights)
        self.state = State(**plain["state"])
        self.state.padded_tokens *= self.ranks.leads  # of all processes; whoever shares the rest, their sum is right
        result.history, result.best_epoch = plain["history"], plain["best_epoch"]
        result.findings = [Finding(**finding) for finding in plain["findings"]]
        if (logits := tensors.get("dev.logits")) is not None:
            result.best_scores = Scores(logits.numpy(), about.truncated, about.full_lengths, self.dev.task)
        self.progress.say(f"Resuming from step {self.state.step} of {self.n_steps}.")

    def _save(self, *, is_best: bool) -> None:
        stepper, scores = self.stepper, self.result.best_scores
        tensors = stepper.state() if stepper else {}
        tensors |= {} if scores is None else {"dev.logits": torch.from_numpy(scores.logits)}
        plain = {
            "cut": self.cut,
            "state": self.state.to_dict() | {"padded_tokens": sum(self.ranks.gather(self.state.padded_tokens))},
            "best_epoch": self.result.best_epoch,
            "history": self.result.history,
            "findings": [finding.to_dict() for finding in self.result.findings],
            "token_budgets": self.ranks.gather(stepper.token_budget) if stepper else [],
        }
        self.keeper.save(tensors, plain, is_best=is_best)
        self.saved_at = time.monotonic()


def predicts_one_class(dev: Corpus, scores: Scores, epoch: int) -> Finding | None:
    """Return a warning if every dev text was given one and the same label."""
    if len(scores.logits) < 2:
        return None
    rules, limits = task_rules(dev.task), dev_thresholds(dev, scores)
    decided = rules.decide(scores.probabilities, limits, dev.label_names)
    given = set(rules.named(decided, dev.label_names))
    if len(given) > 1:
        return None
    (label,) = given
    what = f"the label {dev.written(label)!r}" if label else "no label"
    return Finding(
        "one-class",
        "warning",
        f"After epoch {epoch}, the model gives every one of the {len(scores.logits):,} dev texts {what}.",
        "If it stays so: train longer (--epochs), try another --learning-rate (a tenth, or three times), look whether "
        "the labels can be told from the texts, or label more texts of the rare classes.",
    )
