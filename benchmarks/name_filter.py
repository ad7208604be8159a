"""Does the name filter find names that the miniature was never taught, and what is that worth to a basis?

Planted names of four kinds (`planted_names.py`) are mixed into the known ones and judged by the filter. A planted name
may still be drawn as one person: whatever the text encoder reads, it may read a face. Whether it is, says the
miniature's judge, which no part of the filter has seen, on pictures that no part of the filter has seen.

Writes `results/name_filter.json` and `results/name_filter.png`. With `--lab N`, people are then learned in bases of
known, of mixed and of filtered names.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.planted_names import KINDS, planted
from celebbasis_ext.evaluate.baselines import METHODS
from celebbasis_ext.evaluate.gallery_sheet import names_sheet
from celebbasis_ext.evaluate.lab import Lab, measure
from celebbasis_ext.evaluate.sheets import save_png
from celebbasis_ext.files.atomic import write_whole
from celebbasis_ext.gallery import PROMPTS, drawable_names, galleries_dir, gather
from celebbasis_ext.hosts.standalone import StandaloneHost
from celebbasis_ext.jobs import Workshop, basis_of
from celebbasis_ext.miniature.workshop import Assets, open_judge, open_workshop
from celebbasis_ext.name_filter import FilteredNames, Verdict, filter_names
from celebbasis_ext.types import Gallery, Gathered

RESULTS = Path(__file__).resolve().parent / "results"
KNOWN = "known"
FRESH_SEED = 4_000_000_000
"""Above all seeds of galleries."""
ONE_PERSON = 0.05
"""Share of the known names that may be less consistent than a name that counts as one person."""
SHOWN = 6


def drawn(workshop: Workshop, names: Sequence[str], galleries: Path) -> Gallery:
    for event in gather(workshop, names, folder=galleries):
        if isinstance(event, Gathered):
            return event.gallery
        print(f"{event.done}/{event.total}, {event.seconds_left:.0f} s left", flush=True)
    raise AssertionError("gather always ends with Gathered")


def consistency(workshop: Workshop, names: Iterable[str]) -> dict[str, float]:
    """{name: mean cosine of the judge's traits between fresh pictures, one for each prompt}."""
    judge, found = open_judge(Assets()), {}
    for name in names:
        seeds = [FRESH_SEED + i for i in range(len(PROMPTS))]
        traits, _ = judge.read(workshop.host.generate([p.replace("{}", name) for p in PROMPTS], seeds, steps=10))
        assert traits is not None  # the judge reads identities
        unit = traits / np.linalg.norm(traits, axis=1, keepdims=True)
        found[name] = float((unit @ unit.T)[np.triu_indices(len(unit), 1)].mean())
    return found


def quality(found: set[str], true: set[str]) -> dict[str, float | int]:
    right = len(found & true)
    return {
        "precision": round(right / max(1, len(found)), 4), "recall": round(right / max(1, len(true)), 4),
        "found": len(found), "true": len(true),
    }  # fmt: skip


def by_kind(verdicts: Iterable[Verdict], kinds: dict[str, str], judged: dict[str, float]) -> dict[str, Any]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(kinds.get(verdict.name, KNOWN), []).append(verdict)
    return {
        kind: {
            "names": len(group), "kept": sum(v.kept for v in group),
            "dropped_because": dict(Counter(str(v.reason) for v in group if not v.kept)),
            "within_percentiles_5_50_95": _percentiles([v.within for v in group]),
            "judges_consistency_percentiles_5_50_95": _percentiles([judged[v.name] for v in group if v.name in judged]),
        }
        for kind, group in groups.items()
    }  # fmt: skip


def _percentiles(values: Sequence[float]) -> list[float]:
    return np.nanpercentile(values, [5, 50, 95]).round(3).tolist() if values else []


def told_apart(filtered: FilteredNames, kinds: dict[str, str], judged: dict[str, float]) -> dict[str, Any]:
    """Precision and recall of what is kept and of what is dropped.

    Once as planted; once without the names half of which is known; once with those planted names counted as known
    that the judge sees drawn as one person.
    """
    dropped = {v.name for v in filtered.verdicts if not v.kept}
    kept, all_names = set(filtered.kept), {v.name for v in filtered.verdicts}
    halves = {name for name, kind in kinds.items() if kind == "half"}
    cases = {"as_planted": (set(kinds), all_names), "without_half_known": (set(kinds) - halves, all_names - halves)}
    report: dict[str, Any] = {}
    if judged:
        bound = float(np.quantile([value for name, value in judged.items() if name not in kinds], ONE_PERSON))
        report["judge_calls_one_person_from"] = round(bound, 3)
        cases["as_the_judge_sees"] = ({name for name in kinds if judged[name] < bound}, all_names)
    for case, (unknown, names) in cases.items():
        report[case] = {
            KNOWN: quality(kept & names, names - unknown), "planted": quality(dropped & names, unknown)
        }  # fmt: skip
    return report


def picture(gallery: Gallery, filtered: FilteredNames, kinds: dict[str, str]) -> np.ndarray:
    """A few names of each kind, in the order of the list, with what the filter says."""
    verdicts = {v.name: v for v in filtered.verdicts}
    groups = {kind: [n for n in verdicts if kinds.get(n, KNOWN) == kind] for kind in (KNOWN, *KINDS)}
    chosen = [name for names in groups.values() for name in names[:: max(1, len(names) // SHOWN)][:SHOWN]]

    def say(name: str) -> str:
        verdict = verdicts[name]
        return f"{kinds.get(name, KNOWN)}: {verdict.reason or 'kept'}, {verdict.within:.2f}"

    return names_sheet(gallery, chosen, f"Same person means more than {filtered.threshold:.2f}", say)


def lab_figures(people: int, seed: int, bases: dict[str, Workshop], folder: Path) -> dict[str, Any]:
    """The lab's figures of the default recipe in several bases; the same people, portraits and noise."""
    lab, report = Lab(people, seed, folder), {}
    likeness: dict[str, np.ndarray] = {}
    for label, workshop in bases.items():
        lab.basis = basis_of(workshop)
        measured = measure(lab, METHODS["celeb_basis"])[""]
        likeness[label] = measured.figures["likeness"]
        figures = {name: measured.summary()[name] for name in ("likeness", "obedience", "leak", "norm")}
        report[label] = {"names": len(lab.basis.names), **figures}
        difference = likeness[label] - next(iter(likeness.values()))
        error = float(difference.std(ddof=1) / np.sqrt(people))
        report[label]["likeness_against_the_first"] = {
            "mean": round(float(difference.mean()), 4), "se": round(error, 4)
        }  # fmt: skip
        print(label, report[label], flush=True)
    return {"people": people, "seed": seed, **report}


def with_names(workshop: Workshop, names: Iterable[str]) -> Workshop:
    return dataclasses.replace(workshop, names=tuple(names))


def mixed(galleries: tuple[Gallery, Gallery], count: int) -> Gallery:
    """The planted names among so many known ones, which are spread over the list."""
    known, strange = galleries
    names = list(dict.fromkeys(shot.name for shot in known.shots))
    chosen = {names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)}
    return Gallery((*(s for s in known.shots if s.name in chosen), *strange.shots), "", known.faces)


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        workshop = open_workshop(Path(folder))
        assert isinstance(workshop.host, StandaloneHost)
        names = drawable_names(workshop)
        kinds = planted(workshop.host, options.planted)
        galleries = (drawn(workshop, names, options.galleries), drawn(workshop, tuple(kinds), options.galleries))
        sample = names[:: len(names) // options.judged] if options.judged else ()
        judged = consistency(workshop, (*kinds, *sample)) if sample else {}
        report: dict[str, Any] = {"kinds": KINDS, "date": datetime.date.today().isoformat()}
        for count in options.known:
            gallery = mixed(galleries, count)
            filtered = filter_names(gallery)
            report[f"{len(kinds)} planted among {count}"] = {
                "threshold": round(filtered.threshold, 3), "chance": round(filtered.chance, 3),
                **told_apart(filtered, kinds, judged), "by_kind": by_kind(filtered.verdicts, kinds, judged),
            }  # fmt: skip
        report["judges_consistency"] = {name: round(value, 3) for name, value in judged.items()}
        save_png(picture(gallery, filtered, kinds), RESULTS / "name_filter.png")
        if options.lab:
            report["lab"] = lab_figures(options.lab, options.lab_seed, _bases(workshop, filtered, kinds), Path(folder))
        write_whole(RESULTS / "name_filter.json", json.dumps(report, indent=1).encode())


def _bases(workshop: Workshop, filtered: FilteredNames, kinds: dict[str, str]) -> dict[str, Workshop]:
    known = tuple(v.name for v in filtered.verdicts if v.name not in kinds)
    return {
        "known": with_names(workshop, known),
        f"known and {len(kinds)} planted": with_names(workshop, (*known, *kinds)),
        f"filtered from known and {len(kinds)} planted": with_names(workshop, filtered.kept),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--known", type=int, nargs="+", default=[640, 240], help="how many known names, in turn")
    parser.add_argument("--planted", type=int, default=60, help="how many planted ones (default: 60)")
    parser.add_argument(
        "--judged", type=int, default=60, help="known names that the judge sees, 0 for no judge (default: 60)"
    )
    parser.add_argument("--galleries", type=Path, default=galleries_dir(), help="where they are kept")
    parser.add_argument("--lab", type=int, default=0, metavar="N", help="people to learn in each basis (default: none)")
    parser.add_argument("--lab-seed", type=int, default=901, help="which people (default: 901)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
