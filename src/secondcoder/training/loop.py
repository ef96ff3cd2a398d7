"""The one training loop.

In: a model with an untrained head, the train and dev parts, settings. Out: the model with the weights of its best epoch
on dev, and how it came there. The test part never comes here. Stopped anywhere, it goes on as if it had not been.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.errors import InterruptedRunError
from secondcoder.evaluation.metrics import is_better, resolve_metric
from secondcoder.model.batches import training_steps
from secondcoder.model.model import Model, Scores
from secondcoder.model.pretrained import seeded
from secondcoder.model.token_cache import TokenCache
from secondcoder.model.tokenisation import Encoded
from secondcoder.progress import Progress
from secondcoder.settings import LEAST_STEPS, TrainSettings
from secondcoder.training.activations import inputs_for
from secondcoder.training.alarms import predicts_one_class
from secondcoder.training.checkpoints import Checkpoint
from secondcoder.training.class_weights import resolve_weights
from secondcoder.training.contrastive import ContrastiveStepper
from secondcoder.training.exactness import deterministic, set_generators
from secondcoder.training.fitting import Fit, State, describe, dev_figures, gold_of, targets_of
from secondcoder.training.frozen import upper_layers
from secondcoder.training.heads import start_from_logistic
from secondcoder.training.keeping import Keeper
from secondcoder.training.losses import loss_for
from secondcoder.training.memory import choose_budget
from secondcoder.training.ranks import ALONE, Ranks
from secondcoder.training.sparing import being_trained, hold, peak_rate, release
from secondcoder.training.steps import Inputs, Stepper, schedule
from secondcoder.training.stopping import Stop, StoppableProgress, Stopped, listening

OnEvaluation = Callable[[dict[str, Any]], None]


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
    tokens: TokenCache | None = None,
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
    tokens
        Where token ids are kept for other trainings on these texts.
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
        encode = partial((tokens or TokenCache(None)).encode, model.encoder)
        encoded = encode(train.texts), encode(dev.texts)
        training = _Training(model, train, dev, encoded, settings.resolved(), seed, checkpoints, ranks, progress, stop)
        training.judge_each = judge_each
        if resume:
            training.go_back()
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
        self.model, self.dev, self.settings, self.seed = model, dev, settings, seed
        self.ranks, self.stop, (self.encoded, self.dev_encoded) = ranks, stop, encoded
        # Several processes must stop at the same step, so only those look whether they should.
        self.progress = StoppableProgress(progress, stop) if ranks.count == 1 else progress
        self.gold = gold_of(train, model.label_names)  # what texts are compared by
        self.targets = self.gold if settings.recipe == "contrastive" else targets_of(train, model.label_names)
        weights = resolve_weights(settings.class_weights, self.targets, model.label_names, multi_label=dev.multi_label)
        self.start_head = partial(start_from_logistic, model, weights=weights, progress=self.progress)
        metric = resolve_metric(settings.metric, model.card.positive, model.label_names, model.card.task)
        n_tokens = np.concatenate([self.encoded.full_lengths, self.dev_encoded.full_lengths])
        rate = peak_rate(model.network.config, settings)
        self.result = Fit(metric, rate, seed, n_tokens=n_tokens, class_weights=weights)
        self.frozen = hold(model.network, settings)
        # Named now, as the whole network names them: while lower layers are put aside the others have other numbers.
        self.parameters = {name: p for name, p in model.network.named_parameters() if p.requires_grad}
        self.keeper = Keeper(model, train, dev, self.parameters, checkpoints, ranks)
        self.state, self.epochs = State(), settings.epochs or 0
        self.n_steps = self.epochs * math.ceil(len(train) / settings.batch_size)
        self.stepper: Stepper | None = None
        self.cut, self.judge_each, self.saved_at = False, True, time.monotonic()
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
        inputs, cut = inputs_for(self.model, self.encoded, self.frozen, path=path, progress=self.progress)
        self.cut = cut is not None
        if self.resumed and self.resumed.plain["cut"] != self.cut:
            self.progress.say("The result may differ in its last bits: frozen layers are computed in another way now.")
        if self.settings.head_start == "logistic" and not self.state.step and not self.result.history:
            with upper_layers(self.model.network, cut):
                self.start_head(inputs, self.gold)
            if self.judge_each or not self.epochs:
                self._judge({"epoch": 0, "step": 0}, on_evaluation)
        if not self.epochs:
            return
        # Processes add the same to their weights at every step, and so must start from the same bits.
        self.ranks.copy_from_leader(parameter.detach() for parameter in self.parameters.values())
        stepper = self._make_stepper(inputs)
        while self.state.epoch <= self.epochs:
            with being_trained(self.model.network, cut, self.settings):
                self._run_epoch(stepper)
            if not self.judge_each and self.state.epoch < self.epochs:
                self.state = self.state.next_epoch()
                continue
            if isinstance(stepper, ContrastiveStepper):  # its head has learned nothing yet
                self.start_head(inputs, self.gold)
            padded_tokens = sum(self.ranks.gather(self.state.padded_tokens))
            self._judge(self.state.entry(self.encoded.lengths.sum() / padded_tokens), on_evaluation)

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
                rate = self.result.learning_rate * schedule(state.step, self.n_steps, self.settings.warmup)
                loss, padded_tokens = stepper.take(rows, rate, name=f"step {state.step + 1} of {self.n_steps}")
                seconds = time.monotonic() - started
                state.add(texts=len(rows), loss=loss, padded_tokens=padded_tokens, seconds=seconds)
                task.advance(len(rows), note=f"loss {state.loss:.3f}")
                self._look_around()

    def _look_around(self) -> None:
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

    def go_back(self) -> None:
        """Put everything back to what the newest whole checkpoint says."""
        self.resumed = self.keeper.newest(self.progress.say)
        if self.resumed is None:
            return
        plain, tensors, result, about = self.resumed.plain, self.resumed.tensors, self.result, self.dev_encoded
        self.keeper.load(self.resumed.weights)
        self.state = State.from_dict(plain["state"])
        self.state.padded_tokens *= self.ranks.leads  # of all processes; whoever shares the rest, their sum is right
        result.history, result.best_epoch = plain["history"], plain["best_epoch"]
        result.findings = [Finding(**finding) for finding in plain["findings"]]
        if (logits := tensors.get("dev.logits")) is not None:
            result.best_scores = Scores(logits.numpy(), about.truncated, about.full_lengths, self.dev.multi_label)
        self.progress.say(f"Going on from step {self.state.step} of {self.n_steps}.")

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
