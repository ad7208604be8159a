"""A report as a page: one folder with `index.html`, plots and contact sheets, that opens anywhere.

The page asks nothing of the network, follows the reader's light or dark setting, and fits a phone. What is
missing in a report is missing on the page.
"""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from celebbasis_ext.errors import MissingPackage
from celebbasis_ext.files.atomic import replacing

ROLES: Final = {
    "celeb_basis": "Celeb Basis",
    "paper": "the paper's recipe",
    "textual_inversion": "Textual Inversion",
}
REFERENCES: Final = {
    "celebrities": "known celebrities",
    "impostors": "impostors",
    "drawings": "drawings",
}


@dataclass(frozen=True)
class Measure:
    """A figure by which methods are compared.

    Attributes:
        key: In the report.
        label: For people.
        better: Which value is the best one: the highest, the lowest, or the one nearest to 1.
        target: What is aimed at; None where nothing is.
        unit: Written after the number.
        meaning: One or two sentences for the reader.
    """

    key: str
    label: str
    better: Literal["high", "low", "one"]
    target: float | None
    unit: str
    meaning: str

    @property
    def aim(self) -> str:
        """The target in words, such as "≥ 0.95"; empty where there is none."""
        sign = "≤" if self.better == "low" else "≥"
        return "" if self.target is None else f"{sign} {self.target:g}{self.unit}"

    @property
    def line(self) -> float | None:
        """Where a plot has its dashed line: at the target, or at the 1 that is best."""
        return 1.0 if self.target is None and self.better == "one" else self.target

    def met(self, mean: float) -> bool:
        """Whether a value reaches the target."""
        target = self.target or 0.0
        return mean <= target if self.better == "low" else mean >= target

    def badness(self, mean: float) -> float:
        """The smaller, the better."""
        return {"high": -mean, "low": mean, "one": abs(mean - 1)}[self.better]


MEASURES: Final = (
    Measure(
        "likeness", "Likeness", "high", 0.95, "",
        "How much the pictures look like the person, by the face recogniser: impostors are 0, celebrities "
        "whom the checkpoint knows by name are 1.",
    ),
    Measure(
        "obedience", "Obedience", "high", 0.99, "",
        "How much of what a prompt asks for is in the picture, relative to the same prompts with known "
        "celebrities: at 1 the learned name obeys as well as theirs.",
    ),
    Measure(
        "leak", "Leak", "low", 0.05, "",
        "How much of the portrait that is not the person (background, shirt, hat, glasses, expression) "
        "turns up unasked: chance is 0, always is 1.",
    ),
    Measure(
        "norm", "Norm", "one", None, "",
        "Length of the learned word vectors relative to those of real names: at 1 they are as long.",
    ),
    Measure("seconds", "Seconds", "low", 20.0, " s", "Time to learn one person."),
)  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A mean and its standard error, where one is known."""

    mean: float
    se: float | None = None

    @property
    def places(self) -> int:
        """Decimal places that are worth reading."""
        return 3 if abs(self.mean) < 10 else 1 if abs(self.mean) < 1000 else 0

    def written(self) -> str:
        """HTML, such as "0.970 ± 0.010"."""
        number = f"{self.mean:.{self.places}f}".replace("-", "&minus;")
        return number if self.se is None else f'{number} <span class="se">± {self.se:.{self.places}f}</span>'


@dataclass(frozen=True)
class Method:
    """A way of learning people, and what was measured.

    Attributes:
        label: For people.
        values: {figure: value}.
        people: {figure: value} of each person, in the order of the report.
    """

    label: str
    values: Mapping[str, Value]
    people: tuple[Mapping[str, Value], ...]


def write_page(report: Mapping[str, Any], sheets: Sequence[tuple[str, Path]], folder: Path) -> Path:
    """Write a report as `index.html`, with its plots and contact sheets next to it.

    Args:
        report: What was measured; all may be missing. "settings" is any nested mapping; "reference" maps
            populations to raw figures; "celeb_basis", "paper", "textual_inversion" and each of "others" map
            figures to a number or to {"mean", "se"}; "by_person" maps methods to one mapping of figures per
            person.
        sheets: Captions and pictures. Those outside the folder are copied into it.
        folder: Is made where missing; files of the same names are replaced.

    Returns:
        The path of `index.html`.

    Raises:
        MissingPackage: matplotlib is not installed.
        CannotWrite: A file cannot be written.
    """
    plotter = _Plotter(folder)
    folder.mkdir(parents=True, exist_ok=True)
    methods = methods_of(report)
    settings = _mapping(report.get("settings"))
    parts = (
        _heading(settings),
        _targets(methods),
        _headline(methods),
        _plots(methods, plotter),
        _sheets(sheets, folder),
        _details(methods, _mapping(report.get("reference"))),
        _section("What the figures mean", _definitions({m.label: m.meaning for m in MEASURES})),
        _section("Settings", _definitions(settings)) if settings else "",
    )
    page = _PAGE.replace("{style}", _STYLE).replace("{body}", "\n".join(part for part in parts if part))
    path = folder / "index.html"
    with replacing(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


# --- what is in a report


def value_of(entry: object) -> Value | None:
    """A number, or {"mean", "se"}, as a value; None for anything else, and for what is no finite number."""
    if isinstance(entry, Mapping):
        mean, error = _number(entry.get("mean")), _number(entry.get("se"))
    else:
        mean, error = _number(entry), None
    return None if mean is None else Value(mean, error)


def methods_of(report: Mapping[str, Any]) -> tuple[Method, ...]:
    """The methods of a report: this one, the paper's, Textual Inversion, then all others by name."""
    others = _mapping(report.get("others"))
    found = {key: report.get(key) for key in ROLES} | dict(others)
    people = _mapping(report.get("by_person"))
    return tuple(
        Method(ROLES.get(key, str(key)), _values(figures), _people(people.get(key)))
        for key, figures in found.items()
        if _values(figures) or _people(people.get(key))
    )


def _number(entry: object) -> float | None:
    if isinstance(entry, bool) or not isinstance(entry, int | float) or not math.isfinite(entry):
        return None
    return float(entry)


def _mapping(entry: object) -> Mapping[str, Any]:
    return entry if isinstance(entry, Mapping) else {}


def _values(entry: object) -> dict[str, Value]:
    values = ((str(key), value_of(figure)) for key, figure in _mapping(entry).items())
    return {key: value for key, value in values if value is not None}


def _people(entry: object) -> tuple[Mapping[str, Value], ...]:
    return tuple(_values(person) for person in entry) if isinstance(entry, Sequence) else ()


def _named(key: str) -> str:
    return key.replace("_", " ")


def _keys(rows: Sequence[Mapping[str, Value]]) -> tuple[str, ...]:
    """All figures of some rows: the known ones first, then the rest in the order of the report."""
    found = dict.fromkeys(key for row in rows for key in row)
    known = [measure.key for measure in MEASURES if measure.key in found]
    return (*known, *(key for key in found if key not in known))


# --- the page's parts


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}\n</section>"


def _heading(settings: Mapping[str, Any]) -> str:
    known = (("people", "{} people"), ("seed", "seed {}"), ("checkpoint", "{}"), ("date", "{}"))
    facts = [escape(pattern.format(settings[key])) for key, pattern in known if settings.get(key) is not None]
    return f'<header><h1>Celeb Basis, measured</h1><p class="facts">{" · ".join(facts)}</p></header>'


def _targets(methods: Sequence[Method]) -> str:
    """The first method's figures against what is aimed at."""
    own = next((method for method in methods if method.label == ROLES["celeb_basis"]), None)
    if own is None:
        return ""
    tiles = [_tile(m, own.values.get(m.key)) for m in MEASURES if m.target is not None]
    return f'<section class="tiles" aria-label="Targets">{"".join(tiles)}</section>'


def _tile(measure: Measure, value: Value | None) -> str:
    number = value.written() if value else "—"
    state = "not measured" if value is None else "met" if measure.met(value.mean) else "missed"
    mark = {"met": "✓ ", "missed": "✗ "}.get(state, "")
    return (
        f'<div class="tile {state.replace(" ", "-")}"><p class="name">{measure.label}</p>'
        f'<p class="number">{number}</p><p class="aim">target {measure.aim}, <b>{mark}{state}</b></p></div>'
    )


def _headline(methods: Sequence[Method]) -> str:
    measures = [m for m in MEASURES if any(m.key in method.values for method in methods)]
    if not measures:
        return ""
    head = _row("th", ["Method", *(m.label for m in measures)])
    body = "".join(_method_row(method, measures, methods) for method in methods if method.values)
    aims = _row("td", ["target", *(m.aim for m in measures)], "aims")
    note = "Mean ± standard error over people. <b class='best'>Underlined</b>: the best of its column."
    return _section("Methods compared", f'{_table(head, body + aims)}<p class="note">{note}</p>')


def _method_row(method: Method, measures: Sequence[Measure], methods: Sequence[Method]) -> str:
    cells = [escape(method.label)]
    for measure in measures:
        value = method.values.get(measure.key)
        text = value.written() if value else "—"
        marked = value is not None and _is_best(value, measure, methods)
        cells.append(f'<b class="best" title="best">{text}</b>' if marked else text)
    return _row("td", cells)


def _is_best(value: Value, measure: Measure, methods: Sequence[Method]) -> bool:
    """Whether nothing is better, and there is something to be better than."""
    known = [measure.badness(m.values[measure.key].mean) for m in methods if measure.key in m.values]
    return len(known) > 1 and measure.badness(value.mean) <= min(known)


def _row(tag: str, cells: Sequence[str], kind: str = "") -> str:
    """A table's row of HTML cells; the first one is its heading."""
    first, *rest = cells
    scope = "col" if tag == "th" else "row"
    attribute = ' scope="col"' if tag == "th" else ""
    inner = "".join(f"<{tag}{attribute}>{cell}</{tag}>" for cell in rest)
    return f'<tr class="{kind}"><th scope="{scope}">{first}</th>{inner}</tr>\n'


def _table(head: str, body: str) -> str:
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _values_table(corner: str, rows: Sequence[tuple[str, Mapping[str, Value]]], keys: Sequence[str]) -> str:
    head = _row("th", [corner, *(escape(_named(key)) for key in keys)])
    body = "".join(
        _row("td", [escape(label), *(values[key].written() if key in values else "—" for key in keys)])
        for label, values in rows
    )
    return _table(head, body)


def _details(methods: Sequence[Method], reference: Mapping[str, Any]) -> str:
    """All other figures, the references' raw ones, and those of every person, folded up."""
    parts = []
    plain = [(method.label, method.values) for method in methods if method.values]
    headline = {measure.key for measure in MEASURES}
    if further := [key for key in _keys([values for _, values in plain]) if key not in headline]:
        parts.append(("All other figures", _values_table("Method", plain, further)))
    groups = [(REFERENCES.get(key, _named(str(key))), _values(entry)) for key, entry in reference.items()]
    if keys := _keys([values for _, values in groups]):
        parts.append(("Reference populations", _values_table("Population", groups, keys)))
    for method in methods:
        if keys := _keys(method.people):
            rows = [(str(number), person) for number, person in enumerate(method.people, 1)]
            parts.append((f"Every person: {method.label}", _values_table("Person", rows, keys)))
    folded = "\n".join(f"<details><summary>{escape(title)}</summary>{table}</details>" for title, table in parts)
    return _section("All figures", folded) if parts else ""


def _definitions(entries: Mapping[str, Any]) -> str:
    pairs = "".join(
        f"<dt>{escape(_named(str(key)))}</dt><dd>{_definition(entry)}</dd>\n" for key, entry in entries.items()
    )
    return f"<dl>{pairs}</dl>"


def _definition(entry: object) -> str:
    if isinstance(entry, Mapping):
        return _definitions(entry) if entry else "—"
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        return "<ol>" + "".join(f"<li>{_definition(item)}</li>" for item in entry) + "</ol>"
    return escape("—" if entry is None else str(entry))


def _sheets(sheets: Sequence[tuple[str, Path]], folder: Path) -> str:
    figures = [_sheet(caption, path, folder, number) for number, (caption, path) in enumerate(sheets, 1)]
    return _section("Pictures", "\n".join(figures)) if figures else ""


def _sheet(caption: str, path: Path, folder: Path, number: int) -> str:
    text = f"<figcaption>{escape(caption)}</figcaption>"
    if not path.is_file():
        return f'<figure><p class="note">The picture is missing.</p>{text}</figure>'
    link = escape(_link(path, folder, number))
    image = f'<img src="{link}" alt="{escape(caption)}" loading="lazy">'
    return f'<figure><div class="wide sheet"><a href="{link}">{image}</a></div>{text}</figure>'


def _link(path: Path, folder: Path, number: int) -> str:
    """The relative address of a picture, which is copied first where it lies outside the folder."""
    inside, home = path.resolve(), folder.resolve()
    if not inside.is_relative_to(home):
        inside = home / f"sheet-{number}-{path.name}"
        with replacing(inside) as unfinished:
            shutil.copyfile(path, unfinished)
    return quote(inside.relative_to(home).as_posix())


# --- plots


@dataclass(frozen=True)
class Theme:
    """Colours of the plots in light or dark: text, lines, and one per method, told apart by all eyes."""

    ending: str
    ink: str
    quiet: str
    rule: str
    palette: tuple[str, ...]


LIGHT: Final = Theme(
    "", "#1c1d20", "#6a6d75", "#dcdcd8",
    ("#0060ad", "#d46a00", "#00876a", "#a8418f", "#8a6d00", "#3d8fc6", "#6b6e76"),
)  # fmt: skip
DARK: Final = Theme(
    "-dark", "#ececea", "#a3a6ad", "#3a3c42",
    ("#62aef0", "#f09a45", "#3fc4a2", "#d987c3", "#d2b548", "#9ad0f2", "#a9acb3"),
)  # fmt: skip
MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X")
_DOTS_PER_INCH: Final = 160
_WIDTH: Final = 4.2
"""Inches; more would make the letters too small on a phone."""


class _Plotter:
    """Writes plots into a folder, each in light and dark.

    Raises:
        MissingPackage: matplotlib is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._matplotlib = importlib.import_module("matplotlib")
            self._figure = importlib.import_module("matplotlib.figure")
        except ImportError as error:
            raise MissingPackage(
                f"The package matplotlib, which draws the plots, cannot be imported: {error}",
                "Install it with: pip install matplotlib",
            ) from error
        self._folder = folder

    def plot(self, name: str, caption: str, size: tuple[float, float], paint: Callable[[Any, Theme], None]) -> str:
        """HTML of a plot of some inches, which `paint` draws into an Axes."""
        for theme in (LIGHT, DARK):
            self._save(self._folder / f"{name}{theme.ending}.png", size, paint, theme)
        width, height = (round(length * 100) for length in size)
        return (
            f'<figure><picture><source srcset="{name}{DARK.ending}.png" media="(prefers-color-scheme: dark)">'
            f'<img src="{name}.png" alt="{escape(caption)}" width="{width}" height="{height}" loading="lazy">'
            f"</picture><figcaption>{escape(caption)}</figcaption></figure>"
        )

    def _save(self, path: Path, size: tuple[float, float], paint: Callable[[Any, Theme], None], theme: Theme) -> None:
        colours = {
            "text.color": theme.ink, "axes.labelcolor": theme.quiet, "axes.edgecolor": theme.rule,
            "xtick.color": theme.quiet, "ytick.color": theme.ink, "grid.color": theme.rule,
        }  # fmt: skip
        plain = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "grid.linewidth": 0.6}
        with self._matplotlib.rc_context({**colours, **plain}), replacing(path) as unfinished:
            figure = self._figure.Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
            axes = figure.add_subplot()
            axes.set_axisbelow(True)
            axes.grid(axis="x")
            axes.tick_params(length=0)
            paint(axes, theme)
            figure.savefig(unfinished, format="png", transparent=True)


def _plots(methods: Sequence[Method], plotter: _Plotter) -> str:
    figures = [
        *_whisker_plots(methods, plotter),
        *_scatter_plot(methods, plotter),
        *_leak_plot(methods, plotter),
    ]
    return _section("Plots", f'<div class="plots">{"".join(figures)}</div>') if figures else ""


def _whisker_plots(methods: Sequence[Method], plotter: _Plotter) -> Iterator[str]:
    for measure in MEASURES:
        shown = [(i, method) for i, method in enumerate(methods) if measure.key in method.values]
        if shown:
            caption = f"{measure.label}: means; whiskers span two standard errors to each side."
            caption += " Faint dots are people." * any(measure.key in p for _, m in shown for p in m.people)
            aim = f"the target, {measure.aim}" if measure.aim else "real names"
            caption += f" Dashed: {aim}." * (measure.line is not None)
            paint = _whiskers(measure, shown)
            yield plotter.plot(measure.key, caption, (_WIDTH, 0.9 + 0.36 * len(shown)), paint)


def _whiskers(measure: Measure, shown: Sequence[tuple[int, Method]]) -> Callable[[Any, Theme], None]:
    def paint(axes: Any, theme: Theme) -> None:
        for y, (index, method) in enumerate(shown):
            value, colour = method.values[measure.key], theme.palette[index % len(theme.palette)]
            people = [person[measure.key].mean for person in method.people if measure.key in person]
            axes.plot(people, [y + 0.26] * len(people), ".", color=colour, alpha=0.3, markersize=6, mew=0)
            axes.errorbar(
                value.mean, y, xerr=2 * (value.se or 0.0), color=colour, marker=MARKERS[index % len(MARKERS)],
                markersize=6, elinewidth=1.6,
            )  # fmt: skip
        if measure.line is not None:
            axes.axvline(measure.line, color=theme.quiet, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.set_yticks(range(len(shown)), [_short(method.label) for _, method in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.06)
        axes.set_xlabel(measure.label.lower())

    return paint


def _short(label: str) -> str:
    """Fits beside an axis, and holds nothing that matplotlib takes for a formula."""
    label = label if len(label) <= 24 else f"{label[:23]}…"
    return label.replace("$", r"\$")


def _scatter_plot(methods: Sequence[Method], plotter: _Plotter) -> Iterator[str]:
    clouds = []
    for index, method in enumerate(methods):
        both = [(p["leak"].mean, p["likeness"].mean) for p in method.people if {"leak", "likeness"} <= p.keys()]
        if both:
            clouds.append((index, method.label, both))
    if clouds:
        caption = "Likeness against leak: every dot is a person, large ones are means. Dashed: the targets."
        yield plotter.plot("likeness-leak", caption, (_WIDTH, 4.0), _scatter(clouds))


def _scatter(
    clouds: Sequence[tuple[int, str, Sequence[tuple[float, float]]]],
) -> Callable[[Any, Theme], None]:
    targets = {measure.key: measure.target or 0.0 for measure in MEASURES}

    def paint(axes: Any, theme: Theme) -> None:
        for index, label, cloud in clouds:
            colour, marker = theme.palette[index % len(theme.palette)], MARKERS[index % len(MARKERS)]
            x, y = zip(*cloud, strict=True)
            axes.scatter(x, y, s=16, color=colour, marker=marker, alpha=0.4, linewidths=0)
            mean = sum(x) / len(x), sum(y) / len(y)
            axes.scatter(
                *mean,
                s=80,
                color=colour,
                marker=marker,
                edgecolors=theme.ink,
                linewidths=0.8,
                label=_short(label),
            )
        dashed = {"color": theme.quiet, "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 0}
        axes.axvline(targets["leak"], **dashed)
        axes.axhline(targets["likeness"], **dashed)
        axes.grid(axis="y")
        axes.tick_params(axis="y", labelcolor=theme.quiet)
        axes.set(xlabel="leak (chance 0, always 1)", ylabel="likeness (impostors 0, celebrities 1)")
        axes.figure.legend(loc="outside upper left", ncols=2, frameon=False)

    return paint


def _leak_plot(methods: Sequence[Method], plotter: _Plotter) -> Iterator[str]:
    shown = [method for method in methods if any(key.startswith("leak_") for key in method.values)]
    if shown:
        caption = "Leak by attribute, stacked: what of the portrait turns up unasked."
        yield plotter.plot("leak-attributes", caption, (_WIDTH, 1.5 + 0.42 * len(shown)), _stacks(shown))


def _stacks(shown: Sequence[Method]) -> Callable[[Any, Theme], None]:
    keys = [key for key in _keys([method.values for method in shown]) if key.startswith("leak_")]

    def paint(axes: Any, theme: Theme) -> None:
        ends = [{True: 0.0, False: 0.0} for _ in shown]  # what is above chance goes right, what is below, left
        for index, key in enumerate(keys):
            widths = [method.values[key].mean if key in method.values else 0.0 for method in shown]
            starts = [end[width >= 0] for end, width in zip(ends, widths, strict=True)]
            colour = theme.palette[index % len(theme.palette)]
            label = _short(_named(key.removeprefix("leak_")))
            axes.barh(range(len(shown)), widths, 0.56, starts, color=colour, label=label)
            for end, width in zip(ends, widths, strict=True):
                end[width >= 0] += width
        axes.axvline(0, color=theme.quiet, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [_short(method.label) for method in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("sum over attributes, each from 0 to 1")
        axes.figure.legend(loc="outside upper left", ncols=3, frameon=False)

    return paint


_STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1d20; --quiet: #62656d; --rule: #e3e3df;
  --card: #f6f6f4; --good: #00694f; --bad: #a63d00; --accent: #0060ad; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181b; --ink: #ececea; --quiet: #a3a6ad; --rule: #34363c;
    --card: #202226; --good: #4fcfae; --bad: #f09a45; --accent: #62aef0; }
  .sheet img { filter: brightness(.9); } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.9rem; font-weight: 600; letter-spacing: -.02em; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; font-weight: 600; margin: 3rem 0 .8rem; }
.facts, .note, figcaption { color: var(--quiet); font-size: .875rem; margin: .4rem 0 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem;
  margin-top: 2rem; }
.tile { background: var(--card); border-radius: 10px; padding: .9rem 1.1rem; }
.tile p { margin: 0; }
.tile .name, .tile .aim { color: var(--quiet); font-size: .85rem; }
.tile .number { font-size: 1.6rem; font-variant-numeric: tabular-nums; line-height: 1.5;
  white-space: nowrap; }
.tile .number .se { font-size: .95rem; }
.tile b { font-weight: 600; white-space: nowrap; }
.met b { color: var(--good); }
.missed b { color: var(--bad); }
.se { color: var(--quiet); display: inline-block; font-weight: 400; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .9rem .5rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule); font-weight: 400; }
th:first-child { text-align: left; }
thead th, .aims th, .aims td { color: var(--quiet); font-size: .85rem; }
.best { font-weight: 600; text-decoration: underline 2px var(--accent); text-underline-offset: .3em; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 2rem 2.5rem; align-items: start; }
figure { margin: 0; }
figure + figure { margin-top: 2rem; }
.plots figure { margin: 0; }
img { display: block; max-width: 100%; height: auto; }
.sheet img { width: 100%; min-width: 46rem; max-width: none; border-radius: 8px; }
details { border-bottom: 1px solid var(--rule); padding: .6rem 0; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .35rem 1.5rem; margin: 0;
  font-size: .93rem; }
dt { color: var(--quiet); }
dd { margin: 0; min-width: 0; }
dd dl { grid-template-columns: minmax(5rem, max-content) 1fr; }
ol { margin: 0; padding-left: 1.4rem; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; }
  dd dl { gap: 0 1.2rem; } dd dd { margin-bottom: 0; }
  body { padding-top: 1.5rem; } th, td { padding-right: .7rem; font-size: .85rem; } td .se { display: block; }
  th:first-child { white-space: normal; min-width: 5.5rem; }
  .tiles { grid-template-columns: 1fr 1fr; } .tile { padding: .7rem .8rem; }
  .tile .number { font-size: 1.25rem; } .tile .number .se { font-size: .8rem; } }
"""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Celeb Basis, measured</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
