"""Find and read recipe files, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from f2yaml.schema.modes import MODES
from f2yaml.schema.problems import Place, Problem, RecipeError, did_you_mean
from f2yaml.schema.recipe import Recipe
from f2yaml.schema.salvage import salvage
from f2yaml.schema.source import Source, load
from f2yaml.schema.text import printable

_ENDINGS = (".yaml", ".yml")


def shipped_root() -> Path:
    """Return the folder of the recipes that come with f2yaml."""
    return Path(str(files("f2yaml.recipes"))).resolve()


def shipped(mode: str = "sq") -> dict[str, Path]:
    """Return the recipes that come with f2yaml for a mode, by name.

    A recipe in the folder of the mode (``ql/``, ``qa/``) hides the one of its name that serves
    all modes. Building blocks are left out.
    """
    folders = [shipped_root(), *([shipped_root() / mode] if mode != "sq" else [])]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def shipped_everywhere() -> dict[str, Path]:
    """Return all recipes that come with f2yaml: `shipped`, and those of modes as ``qa/reduce``."""
    found = shipped()
    for mode in MODES:
        folder = shipped_root() / mode
        found |= {f"{mode}/{path.stem}": path for path in sorted(folder.glob("*.yaml"))}
    return found


def shown_path(path: Path) -> str:
    """Return a path as messages show it: relative to the working folder where it lies inside."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def find_recipe(ref: str | Path, search: Sequence[Path] = (), mode: str = "sq") -> Path:
    """Return the file of a recipe given by path or name.

    Parameters
    ----------
    ref : str or path
        Path of a YAML file, or the name of a recipe in `search` or among the shipped ones.
    search : sequence of path
        Folders that may hold it.
    mode : str
        Mode of the run; its own recipes go before those that serve all modes.

    Raises
    ------
    RecipeError
        There is none.
    """
    text = str(ref)
    is_path = isinstance(ref, Path) or text.endswith(_ENDINGS) or "/" in text
    try:
        if is_path:
            for path in [Path(ref), *(folder / text for folder in search)]:
                if path.exists():
                    return path.resolve()
        else:
            for folder in search:
                for ending in _ENDINGS:
                    if (folder / (text + ending)).is_file():
                        return (folder / (text + ending)).resolve()
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"`{printable(text)}` cannot be the name of a recipe",
            getattr(error, "strerror", None) or str(error),
            "give the path of a YAML file, or the name of a shipped recipe",
        ) from error
    known = shipped(mode)
    shown = printable(text)
    if not is_path and text in known:
        return known[text]
    stem = Path(text).stem
    others = [m for m in MODES if text == f"{m}/{stem}" or (not is_path and text in shipped(m))]
    if others and stem in shipped(others[0]):
        fix = f"it is a recipe of another mode: write `{stem}`, with --mode {' or '.join(others)}"
    elif is_path and stem in known:
        fix = f"`{stem}` without path and ending is the shipped recipe"
    elif is_path:
        fix = did_you_mean(Path(text).name, _neighbours(Path(text).parent)) or "check the path"
    elif beside := file_named(text):
        how = "give it with its ending" if beside != text else "write it so"
        fix = f"./{beside} is a file: {how}"
    else:
        fix = did_you_mean(text, known) or "shipped are: " + (", ".join(known) or "none")
    raise RecipeError(
        f"{shown}: no such file" if is_path else f"no recipe is named `{shown}`",
        "a recipe is the path of a YAML file, or the name of a shipped recipe",
        fix,
    )


def file_named(name: str) -> str | None:
    """Return the file in the working folder that a bare name could mean, ending and all."""
    try:
        found = (name + ending for ending in (*_ENDINGS, "") if Path(name + ending).is_file())
        return next(found, None)
    except (OSError, ValueError):  # such as a name that is too long
        return None


def _neighbours(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from (path.name for path in folder.iterdir() if path.suffix in _ENDINGS)


@dataclass(frozen=True, slots=True)
class Document:
    """A recipe file that has been read.

    `lost` names the keys at its top of which faults have taken something away.
    """

    path: Path
    source: Source
    recipe: Recipe
    lost: frozenset[str] = frozenset()


class Library:
    """Reads recipe files, each once, and collects what is wrong with them.

    Parameters
    ----------
    top : pathlib.Path
        File of the recipe; its folder, the shipped recipes and `search` are the only places that
        other files may come from.
    search : sequence of path
    """

    def __init__(self, top: Path, search: Sequence[Path] = ()) -> None:
        self.problems: list[Problem] = []
        self.documents: dict[Path, Document | None] = {}
        self._search = [folder.resolve() for folder in search]
        self._shipped = shipped_root()
        self._roots = [top.parent, self._shipped, *self._search]

    def read(self, path: Path) -> Document | None:
        """Return a file's recipe, without its faults; None when nothing of it can be understood.

        Problems are noted.
        """
        if path not in self.documents:
            self.documents[path] = None
            try:
                source = load(path, name=shown_path(path), keep_going=True)
            except RecipeError as error:
                self.problems += error.problems
                return None
            recipe, problems, lost = salvage(source, Recipe)
            self.problems += [*source.problems, *problems]
            if recipe is not None:
                self.documents[path] = Document(path, source, recipe, lost)
        return self.documents[path]

    def resolve(self, ref: str, origin: Path, where: Place) -> Path | None:
        """Return the file that an `include` or `extends` means; None notes a problem.

        Parameters
        ----------
        ref : str
            Path relative to the folder of `origin`, to `search` or to the shipped recipes.
        origin : pathlib.Path
            File that says so.
        where : Place
            Where it says so.
        """
        escaped = False
        folders = list(dict.fromkeys([origin.parent, *self._search, self._shipped]))
        try:
            for folder in folders:
                path = (folder / ref).resolve()
                if not any(path.is_relative_to(root) for root in self._roots):
                    escaped = True
                elif path.is_file():
                    return path
        except (OSError, ValueError, RuntimeError) as error:
            self.problems.append(
                Problem("the path cannot be used", str(error), "correct the path", where)
            )
            return None
        if escaped:
            self.problems.append(
                Problem(
                    f"`{printable(ref)}` leaves the folder of the recipe",
                    "a recipe is built from files beside or below it and from shipped ones, so "
                    "that it can be moved and checked",
                    "copy the file there",
                    where,
                )
            )
            return None
        nearby = {
            str(path.relative_to(folder))
            for folder in folders
            for path in (folder / ref).parent.glob("*.y*ml")
            if path.is_relative_to(folder)
        }
        self.problems.append(
            Problem(
                f"no file `{printable(ref)}`",
                "it is looked for beside the file that names it, then among the shipped recipes",
                did_you_mean(ref, nearby) or "check the path",
                where,
            )
        )
        return None
