"""The schedules of trainers, step by step as their sources have them, from what `steepest export` prints.

None of it passes through the code under test. The sources and their versions are named in the modules of
`experiments.export`.
"""

import math
import shlex


def levanter_rates(text: str) -> list[float]:
    """`OptimizerConfig.lr_scheduler` for one cycle."""
    options = _yaml(text)
    num_steps = int(options["num_train_steps"])
    peak, least = float(options["learning_rate"]), float(options.get("min_lr_ratio", 0.1))

    def steps_of(number):
        return int(number * num_steps) if number <= 1 else int(number)

    warmup = min(steps_of(float(options["warmup"])), num_steps)
    decay = steps_of(float(options["decay"])) if "decay" in options else num_steps - warmup
    decay = min(decay, num_steps - warmup)
    style = options["lr_schedule"]
    parts = dict(part.split(": ") for part in style.strip("{}").split(", ")) if style[0] == "{" else {}
    kind = parts.get("type", style)

    def decayed(count):
        if kind == "constant":
            return peak
        if kind == "inv_sqrt":
            factor = min(1.0, 1 / math.sqrt(max(count + warmup, 1) / float(parts["timescale"])))
            return max(peak * factor, peak * least)
        count = min(count, decay)
        if kind == "cosine":
            return peak * ((1 - least) * 0.5 * (1 + math.cos(math.pi * count / decay)) + least)
        power = {"linear": 1.0, "polynomial": float(parts.get("power", 2))}[kind]
        return (peak - peak * least) * (1 - count / decay) ** power + peak * least

    rates = []
    for step in range(num_steps):
        if step < warmup:
            rates.append(peak * step / warmup)
        elif step < num_steps - decay:
            rates.append(peak)
        else:
            rates.append(decayed(step - (num_steps - decay)))
    return rates


def maxtext_rates(text: str) -> list[float]:
    """`create_learning_rate_schedule`."""
    options = _yaml(text)
    length, peak = int(options["learning_rate_schedule_steps"]), float(options["learning_rate"])
    final = peak * float(options["learning_rate_final_fraction"])
    warmup = int(length * float(options["warmup_steps_fraction"]))
    kind = options["lr_schedule_type"]
    decay = length - warmup
    if kind == "wsd":
        decay = int(length * float(options["wsd_decay_steps_fraction"]))

    def cosine(step, steps):
        share = step / (steps - 1) if steps > 1 else 1.0
        a = 0.5 * (math.cos(math.pi * share) + 1)
        return peak * a + final * (1 - a)

    def linear(step, steps):
        return peak + (final - peak) * step / (steps - 1) if steps > 1 else peak

    fall = cosine if kind == "cosine" else {"cosine": cosine, "linear": linear}[options["wsd_decay_style"]]
    rates = []
    for step in range(int(options["steps"])):
        if step < warmup:
            rates.append(peak * step / warmup)
        elif step < length - decay:
            rates.append(peak)
        elif step < length:
            rates.append(fall(step - (length - decay), decay))
        else:
            rates.append(0.0)
    return rates


def megatron_rates(text: str) -> list[float]:
    """`OptimizerParamScheduler.get_lr`, in iterations."""
    words = shlex.split(text, comments=True)
    assert (words[0], words[-1]) == ("LEARNING_RATE_ARGS=(", ")")
    options = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
    peak, least = float(options["--lr"]), float(options["--min-lr"])
    start, warmup = float(options["--lr-warmup-init"]), int(options["--lr-warmup-iters"])
    num_steps = int(options["--train-iters"])
    end = int(options.get("--lr-decay-iters", num_steps))
    assert 0 <= least <= peak
    assert start <= peak
    assert warmup < end

    def rate(step):
        if warmup > 0 and step <= warmup:
            return start + (peak - start) * step / warmup
        if options["--lr-decay-style"] == "constant":
            return peak
        if step > end:
            return least
        if options["--lr-decay-style"] == "inverse-square-root":
            return max(least, peak * max(warmup, 1) ** 0.5 / max(step, 1) ** 0.5)
        done = (step - warmup) / (end - warmup)
        style = options["--lr-decay-style"]
        if style == "WSD":
            style, span = options["--lr-wsd-decay-style"], int(options["--lr-wsd-decay-iters"])
            done = max(step - (end - span), 0) / span
        share = {
            "linear": 1 - done,
            "cosine": 0.5 * (math.cos(math.pi * done) + 1),
            "exponential": 2 * 0.5**done - 1,
            "minus_sqrt": 1 - math.sqrt(done),
        }[style]
        return least + share * (peak - least)

    return [rate(step) for step in range(num_steps)]


def _yaml(text: str) -> dict[str, str]:
    """The scalars of a YAML text by their names, whatever they are nested in."""
    lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines if ": " in line)
