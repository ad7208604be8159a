"""The loss curve as SVG: light, sharp, and in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 480, 120
MOST_POINTS = 240
SMOOTHING = 0.9


def loss_curve(losses: Sequence[float], step: int, steps: int) -> str:
    """Every step's loss as a faint line, the running mean over it; the width stands for all planned steps.

    Args:
        losses: Of the last steps: a run that was resumed knows those since then.
        step: The last one's number, from 1.
        steps: All that are planned.
    """
    if len(losses) < 2:
        return ""
    stride = max(1, len(losses) // MOST_POINTS)
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0

    def points(values: Sequence[float]) -> str:
        x, y, first = WIDTH / max(steps, 1), HEIGHT * 0.92 / span, step - len(losses) + 1
        shown = range(0, len(values), stride)
        return " ".join(f"{x * (first + i):.1f},{HEIGHT * 0.96 - y * (values[i] - low):.1f}" for i in shown)

    smooth = running_mean(losses)
    return (
        f'<figure class="cb-loss"><svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Loss: {smooth[0]:.4f} at first, {smooth[-1]:.4f} now">'
        f'<polyline class="cb-loss-raw" points="{points(losses)}"/>'
        f'<polyline class="cb-loss-mean" points="{points(smooth)}"/></svg>'
        f"<figcaption>loss {smooth[-1]:.4f} <span>({low:.4f} to {high:.4f})</span></figcaption></figure>"
    )


def running_mean(values: Sequence[float]) -> list[float]:
    """The exponential running mean, without its bias towards the first value's neighbourhood of zero."""
    mean, weight, out = 0.0, 0.0, []
    for value in values:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        out.append(mean / weight)
    return out
