"""Whether a folder with a trained model is what it says, found out before anything in it runs or is unpickled.

`check_folder` reads: nothing of the folder is imported, executed or given to pickle. It can't judge what a model was taught,
and its look at code is no sandbox: what makes published code safe is that it equals this package's, byte for byte. Checksums
tell a damaged or altered copy; whoever may write the folder can write them, too.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import pickletools
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.label_space import LabelError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForTokenClassification

from .model_classes import ModelError, model_class

CHECKSUMS = "checksums.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz")
"""Endings of files that are pickles, or may hold some."""
RESUMING = re.compile(r"(optimizer|scheduler|scaler)\.pt|rng_state(_\d+)?\.pth|training_args\.bin")
"""What Trainer writes beside a checkpoint's weights; loading a model doesn't open it."""
NOT_CONTENT = {".git", ".cache", ".gitattributes", CHECKSUMS}
"""Names that a repository or a download adds."""
FOR_READERS = {"README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "CITATION.cff"}
"""What an owner may change or add on the Hub's pages, and no program reads."""
TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""The plain fast class, under its names in transformers 5."""
LIBRARIES = {"torch", "transformers"}
"""What published code may import besides the standard library and its siblings."""
FORBIDDEN_MODULES = re.compile(
    "_pickle|_posixsubprocess|asyncio|builtins|code|codeop|copyreg|ctypes|dbm|doctest|ensurepip|ftplib|gc|http|imaplib|importlib|"
    "marshal|multiprocessing|nt|pickle|pip|pkgutil|poplib|posix|pty|pydoc|runpy|shelve|site|smtplib|socket|socketserver|ssl|"
    "subprocess|timeit|urllib|venv|webbrowser|xmlrpc|zipimport"
)
"""Modules of the standard library that run programs or code, unpickle, or reach the network."""
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__", "__builtins__", "breakpoint"}
FORBIDDEN_ATTRIBUTES = re.compile(
    r"os\.(system|popen|startfile|fork\w*|exec\w*|spawn\w*|posix_spawn\w*|kill\w*|remove\w*|unlink|rmdir)|shutil\.rmtree|"
    r"sys\.(modules|meta_path|path_hooks)|torch\.(load|hub|package|classes|ops|jit)(\..*)?|torch\.utils\.cpp_extension(\..*)?|"
    r"transformers\.dynamic_module_utils\.(?!get_relative_import_files$)\w+|.*\.__(globals|subclasses|builtins|code)__"
)
ADAPTER = ("adapter_model.safetensors", "head.safetensors")
"""Weights of an adapter, beside its adapter_config.json (see adapters.py)."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_READING = (OSError, ValueError, TypeError, KeyError, AttributeError, LabelError, StrictDataclassError)
_PARSING = (SyntaxError, ValueError, MemoryError, RecursionError)
"""What Python's parser raises for what is no Python, or is nested too deeply."""
_HOSTILE = (*_READING, *_PARSING, ArithmeticError, AssertionError, EOFError, ImportError, LookupError, RuntimeError)
_HOSTILE += (SafetensorError, struct.error, zipfile.BadZipFile, zlib.error)
"""What readers and constructors raise for content that nobody expected."""


class IntegrityError(ModelError):
    """A folder that is not what it says, or that would run code of its own; the message names the file."""


def check_folder(folder: str | Path, strict: bool = False) -> None:
    """Checks a folder with a model of any family, an adapter of one, or a stock token classifier.

    Args:
        folder: weights, config.json, tokenizer and, where it was saved by this package, code.
        strict: as for publishing: files in subfolders too, nothing for resuming a training, code equal to this package's.
    Raises:
        IntegrityError: the first fault found, or something that can't be read.
    """
    with _named(Path(folder)):
        _check(Path(folder), strict)


@contextmanager
def _named(place: Path) -> Iterator[None]:
    """Makes an IntegrityError, with the place, of whatever reading it raises."""
    try:
        yield
    except IntegrityError:
        raise
    except _HOSTILE as error:
        raise IntegrityError(f"{place}: can't be read ({type(error).__name__}: {_first(error)})") from error


def _check(folder: Path, strict: bool) -> None:
    if not folder.is_dir():
        raise IntegrityError(f"{folder} is no folder")
    everything = _files(folder)
    if (folder / CHECKSUMS).exists() or (folder / CHECKSUMS).is_symlink():
        _check_links(folder, everything)
        _check_checksums(folder, everything, set() if strict else FOR_READERS)
    files = everything if strict else [p for p in everything if p.parent == folder]
    _check_links(folder, files)
    resumable = not strict and (folder / "trainer_state.json").exists()
    shapes = {}
    for path in files:
        with _named(path):
            if not (resumable and RESUMING.fullmatch(path.name)):
                _check_no_pickle(path)
            if path.suffix == ".safetensors":
                shapes[path] = _shapes(path)
    for path in files:
        with _named(path):
            if path.suffix == ".py":
                check_code(path)
                if strict:
                    _check_own_code(path)
            elif path.suffix == ".json" and "config" in path.name:
                _check_references(path)
                if strict and path.name == "adapter_config.json":
                    _check_adapter_alone(path)
    with _named(folder / "config.json"):
        config = _config(folder)
        _check_labels(folder, config)
    _check_tokenizer(folder, config)
    own = {path.name: found for path, found in shapes.items() if path.parent == folder}
    adapter = (folder / "adapter_config.json").exists() and all(name in own for name in ADAPTER)
    if not adapter or WEIGHTS in own or (folder / INDEX).exists():
        _check_weights(folder, config, own)


def _files(folder: Path) -> list[Path]:
    """All files, also those that links lead to, but for what a repository or a download adds."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir())
    return [p for p in paths if not NOT_CONTENT & {p.relative_to(folder).parts[0]}]


def _check_links(folder: Path, files: list[Path]) -> None:
    inside = folder.resolve()
    # In the Hub's cache the files of a snapshot are links to the contents that all snapshots share.
    blobs = inside.parent.parent / "blobs" if inside.parent.name == "snapshots" else None
    for path in files:
        if path.is_symlink():
            target = path.resolve()
            if not (target.is_relative_to(inside) or (blobs and target.parent == blobs)):
                raise IntegrityError(f"{path} is a symbolic link that leaves the folder; put the file itself there")
            if not target.is_file():
                raise IntegrityError(f"{path} is a symbolic link to something that isn't a file")
        elif not path.is_file():
            raise IntegrityError(f"{path} is neither a file nor a folder")


# ---- checksums


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def write_checksums(folder: Path) -> None:
    """Writes the SHA-256 of every file of the folder into its checksums.json."""
    sums = {p.relative_to(folder).as_posix(): digest(p) for p in _files(folder)}
    content = json.dumps({"algorithm": "sha256", "files": sums}, indent=1, ensure_ascii=False)
    (folder / CHECKSUMS).write_text(content + "\n", encoding="utf-8")


def _check_checksums(folder: Path, files: list[Path], ignored: set[str]) -> None:
    sums = _json(folder / CHECKSUMS)
    listed = sums.get("files")
    if sums.get("algorithm") != "sha256" or not isinstance(listed, dict):
        raise IntegrityError(f'{folder / CHECKSUMS}: expected {{"algorithm": "sha256", "files": {{path: checksum}}}}')
    remedy = f"get the folder again from where it was published, or, if you changed it yourself, delete {CHECKSUMS}"
    found = {p.relative_to(folder).as_posix(): p for p in files}
    listed, found = ({k: v for k, v in names.items() if k not in ignored} for names in (listed, found))
    if missing := sorted(listed.keys() - found.keys()):
        raise IntegrityError(f"{folder / missing[0]} is missing, but {CHECKSUMS} lists it; {remedy}")
    if extra := sorted(found.keys() - listed.keys()):
        raise IntegrityError(f"{folder / extra[0]} is there, but {CHECKSUMS} doesn't list it; {remedy}")
    for name, path in found.items():
        if digest(path) != listed[name]:
            raise IntegrityError(f"{path} is not the file that {CHECKSUMS} lists (another SHA-256); {remedy}")


def _check_adapter_alone(path: Path) -> None:
    """From the Hub, transformers would load the model that adapter_config.json names instead, with that model's code."""
    if beside := [name for name in (WEIGHTS, INDEX) if (path.parent / name).exists()]:
        raise IntegrityError(
            f"{path} is beside {beside[0]}; publish the merged model or the adapter, not both in one folder"
        )
    config = path.parent / "config.json"
    if config.exists() and (code := {"auto_map", "custom_pipelines"} & _json(config).keys()):
        raise IntegrityError(
            f"{path} is beside a config.json with {min(code)}, whose code may come from elsewhere then; remove one of them"
        )


# ---- weights


def _check_no_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise IntegrityError(
            f"{path} is, or may hold, a pickle, which runs code when it is read; expected weights as model.safetensors "
            "(save_pretrained writes it) and nothing else of the kind"
        )
    if _is_pickle(path):
        raise IntegrityError(f"{path} is a pickle in spite of its name, and would run code when read; remove it")


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle does, is an archive with one, or is one of the oldest kind, which are text."""
    with path.open("rb") as file:
        head = file.read(4)
    if head[:1] == b"\x80" and head[1:2] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        return path.suffix != ".safetensors" or not _reads_as_weights(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).suffix in PICKLES for name in archive.namelist())
    if path.suffix == ".safetensors" or path.stat().st_size > 1 << 26:
        return False
    imports = False
    try:
        for opcode, _, _ in pickletools.genops(path.read_bytes()):
            imports |= opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL", "REDUCE")
            if opcode.name == "STOP":
                return imports
    except (ValueError, IndexError, OverflowError, struct.error):
        return False
    return False


def _reads_as_weights(path: Path) -> bool:
    try:
        with safe_open(path, "pt"):
            return True
    except SafetensorError:
        return False


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape of the tensors of a file, from its header, which the library checks against the file's size."""
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise IntegrityError(
            f"{path} is no valid safetensors file ({error}); it is damaged or something else: get or save it again"
        ) from error


def _check_weights(folder: Path, config, shapes: dict[str, dict[str, tuple[int, ...]]]) -> None:
    """The tensors of the weight files against those of a model built from the config (without memory for them)."""
    if parts := [name for name in shapes if re.match(r"shard-\d{5}-model-", name)]:
        raise IntegrityError(
            f"{folder / parts[0]} is a distributed training's; transformers would take it for the weights"
        )
    index = folder / INDEX
    names = [WEIGHTS]
    if WEIGHTS not in shapes and index.exists():  # transformers prefers the single file, too
        table = _json(index).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
            raise IntegrityError(f"{index}: expected a weight_map from names to files")
        names = sorted(set(table.values()))
    if missing := [name for name in names if name not in shapes]:
        raise IntegrityError(
            f"{folder / 'config.json'} is there, but no {missing[0]} in that folder; expected the weights there, as "
            "save_pretrained writes them"
        )
    found = {key: (shape, name) for name in names for key, shape in shapes[name].items()}
    try:
        with torch.device("meta"):
            model = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    except _HOSTILE as error:
        raise IntegrityError(f"{folder / 'config.json'}: no model can be built from it ({_first(error)})") from error
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for key in sorted(found.keys() & wanted.keys()):
        shape, name = found[key]
        if shape != wanted[key]:
            raise IntegrityError(
                f"{folder / name} doesn't fit config.json: {key} has the shape {shape}, expected {wanted[key]}"
            )
    # Some encoders are saved under other names than they have in memory; what they lack, loading finds.
    if isinstance(config, NERConfig):
        head = [key for key in found.keys() ^ wanted.keys() if not key.startswith("encoder.")]
    else:  # of a stock class transformers would make up what is missing
        head = [key for key in wanted.keys() - found.keys() if not key.startswith(f"{model.base_model_prefix}.")]
        rows = model.get_input_embeddings().weight
        tied = [name for name, value in model.named_parameters(remove_duplicate=False) if value is rows]
        ends = tuple(".".join(name.split(".")[-2:]) for name in tied)
        if not any(key.endswith(ends) for key in found):
            head.append(tied[0])
    if head:
        key = min(head)
        state = "lacks" if key in wanted else "has a tensor that the model hasn't:"
        raise IntegrityError(f"{folder / names[0]} doesn't fit config.json: it {state} {key}")


# ---- code


def check_code(path: Path) -> None:
    """Raises IntegrityError where a file imports or calls what code of a published model has no use for."""
    with _named(path):
        _check_code(path, _tree(path))


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except _PARSING as error:
        raise IntegrityError(f"{path}: not Python ({_first(error)})") from error


def _check_code(path: Path, tree: ast.Module) -> None:
    names: dict[str, str] = {}  # name in the file → what was imported under it

    def fault(node: ast.AST, what: str) -> None:
        raise IntegrityError(
            f"{path}:{node.lineno}: {what}; code of a published model imports torch, transformers, harmless parts of the "
            "standard library and its siblings, and runs nothing else"
        )

    def imported(node: ast.AST, module: str) -> None:
        top = module.split(".")[0]
        if FORBIDDEN_MODULES.fullmatch(top) or top not in {*LIBRARIES, *sys.stdlib_module_names}:
            fault(node, f"imports {module}")

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported(node, alias.name)
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                if FORBIDDEN_ATTRIBUTES.fullmatch(alias.name):
                    fault(node, f"imports {alias.name}")
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported(node, node.module)
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if alias.name == "*" or FORBIDDEN_ATTRIBUTES.fullmatch(f"{node.module}.{alias.name}"):
                    fault(node, f"imports {alias.name} from {node.module}")
        elif isinstance(node, ast.ImportFrom) and (
            node.level > 1
            or node.module is None
            or "." in node.module
            or not (path.parent / f"{node.module}.py").is_file()
        ):
            fault(node, f"`{ast.unparse(node)}` is no sibling")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES:
            fault(node, f"uses {node.id}")
        elif isinstance(node, ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            name = names.get(first, first) + dot + rest
            if FORBIDDEN_ATTRIBUTES.fullmatch(name):
                fault(node, f"uses {name}")


def own_file(name: str) -> Path | None:
    """This package's file that is published under a name; None if there is none."""
    path = Path(inspect.getfile(NERConfig)).with_name(name)
    return path if path.is_file() and name != "__init__.py" else None


def _check_own_code(path: Path) -> None:
    own = own_file(path.name)
    if own is None:
        raise IntegrityError(f"{path} is none of this package's files; only those are published")
    if own.read_bytes() != path.read_bytes():
        raise IntegrityError(
            f"{path} differs from this package's own file; load the model with the package and save it again, so that "
            "what was tested is what is published"
        )


# ---- what the JSON files say


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: no JSON ({_first(error)})") from error
    if not isinstance(content, dict):
        raise IntegrityError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _first(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _texts(value) -> Iterator[str]:
    """All texts of a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value:
            yield from _texts(item)
        if isinstance(value, dict):
            yield from _texts([*value.values()])


def _check_references(path: Path) -> None:
    """Whatever makes transformers or peft import code must name a class of a file beside."""

    def reference(where: str, value) -> None:
        if not isinstance(value, str):
            raise IntegrityError(f"{path}: {where} is {value!r}; expected file.Class")
        if "--" in value:
            raise IntegrityError(
                f"{path}: {where} is {value!r}, code of another repository; expected code of this folder"
            )
        module, _, name = value.partition(".")
        if not (module.isidentifier() and name.isidentifier()):
            raise IntegrityError(f"{path}: {where} is {value!r}, which leaves the folder or is no file.Class")
        source = path.parent / f"{module}.py"
        if not source.is_file():
            raise IntegrityError(f"{path}: {where} is {value!r}, but there is no {source.name}")
        if name not in {node.name for node in _tree(source).body if isinstance(node, ast.ClassDef)}:
            raise IntegrityError(f"{path}: {where} is {value!r}, but {source.name} has no such class")

    def walk(value, where: str) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item, where)
        if not isinstance(value, dict):
            return
        for key, item in value.items():
            place = f"{where}.{key}" if where else key
            if key == "auto_map":
                if path.name == "tokenizer_config.json":
                    raise IntegrityError(f"{path}: {place}: a tokenizer with code of its own; expected {TOKENIZERS[0]}")
                for name, values in item.items() if isinstance(item, dict) else [("", item)]:
                    for one in values if isinstance(values, list) else [values]:
                        reference(f"{place}.{name}", one)
            elif key == "custom_pipelines":
                for task, row in item.items() if isinstance(item, dict) else [("", item)]:
                    if not isinstance(row, dict):
                        raise IntegrityError(f"{path}: {place}.{task}: expected an object with impl, pt and type")
                    reference(f"{place}.{task}.impl", row.get("impl"))
                    classes = row.get("pt") or []
                    if not isinstance(classes, list):
                        raise IntegrityError(
                            f"{path}: {place}.{task}.pt is {classes!r}; expected a list of Auto classes"
                        )
                    for name in classes:
                        if not (isinstance(name, str) and re.fullmatch(r"Auto\w+", name)):
                            raise IntegrityError(f"{path}: {place}.{task}.pt is {name!r}; expected an Auto class")
            elif key == "transformers_weights":
                raise IntegrityError(
                    f"{path}: {place} is {item!r}, other weights than {WEIGHTS}; expected no such key: remove it"
                )
            elif "_implementation" in key and any(re.search(r"[/:|]", text) for text in _texts(item)):
                raise IntegrityError(f"{path}: {place} is {item!r}: kernels, which are code, from elsewhere; remove it")
            elif key == "parent_library" and str(item).split(".")[0] not in LIBRARIES:
                raise IntegrityError(f"{path}: {place} is {item!r}; expected a module of transformers")
            else:
                walk(item, place)

    walk(_json(path), "")


def _config(folder: Path):
    """The config, by this package's or transformers' own class, after its JSON agrees with what that class makes of it."""
    path = folder / "config.json"
    content = _json(path)
    try:
        model_class(content.get("model_type"))
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except _READING as error:
        raise IntegrityError(f"{path}: can't be read as a model's config ({_first(error)})") from error


def _check_labels(folder: Path, config) -> None:
    path = folder / "config.json"
    raw = _json(path)
    labels, numbers = raw.get("id2label"), raw.get("label2id")
    if labels is not None or numbers is not None:
        if not isinstance(labels, dict) or not isinstance(numbers, dict):
            raise IntegrityError(f"{path}: expected both id2label and label2id")
        if set(labels) != {str(i) for i in range(len(labels))}:
            raise IntegrityError(
                f"{path}: id2label has the numbers {', '.join(labels)}; expected 0 to {len(labels) - 1}"
            )
        if numbers != {label: int(number) for number, label in labels.items()}:
            raise IntegrityError(f"{path}: label2id isn't the inverse of id2label")
        if labels != {str(i): label for i, label in config.id2label.items()}:
            raise IntegrityError(
                f"{path}: id2label doesn't go with the label space, which makes {', '.join(config.id2label.values())} of it"
            )
    if not isinstance(config, NERConfig):
        return
    try:
        space, names = config.labels, [task["name"] for task in config.tasks]
        for default in config.default_tasks:
            config.task_index(default)
        if isinstance(config, AIONERConfig):
            kinds = {re.sub(r"@.*", "", label[2:]) for label in config.id2label.values() if label[:2] in ("B-", "I-")}
            kinds |= {kind for task in config.tasks for kind in task["types"]}
            if unknown := sorted(kinds - set(space.shared_types)):
                raise IntegrityError(f"{path}: the label space has no type {unknown[0]!r}, but a label or a task has")
            for task in config.tasks:
                if not all(0 <= number < config.num_labels for number in task["labels"]):
                    raise IntegrityError(
                        f"{path}: task {task['name']!r} has labels beyond the {config.num_labels} there are"
                    )
            asked = {name for own in (config.corpus_tasks, config.modes) for many in own.values() for name in many}
            if unknown := sorted(asked - set(names)) + sorted(set(config.corpus_tasks) - set(space.corpora)):
                raise IntegrityError(f"{path}: {unknown[0]!r} is asked for, but there is no such task or corpus")
        else:
            for task in config.tasks:
                corpus = task.get("corpus", task["name"])
                if corpus is not None:
                    space.native_types(corpus)
    except _READING as error:
        if isinstance(error, IntegrityError):
            raise
        raise IntegrityError(f"{path}: tasks and label space don't go together ({_first(error)})") from error


# ---- the tokenizer


def _check_tokenizer(folder: Path, config) -> None:
    settings, path = _json(folder / "tokenizer_config.json"), folder / "tokenizer.json"
    kind, own = settings.get("tokenizer_class"), isinstance(config, NERConfig)
    if own and kind not in TOKENIZERS:
        raise IntegrityError(
            f"{folder / 'tokenizer_config.json'}: tokenizer_class is {kind!r}; expected {' or '.join(TOKENIZERS)}"
        )
    content = _json(path)
    try:
        entries = content["model"]["vocab"]
        pieces = [row[0] for row in entries] if isinstance(entries, list) else entries
        vocabulary = {p: i for i, p in enumerate(pieces)} if isinstance(entries, list) else dict(pieces)
        special = {row["content"]: row["id"] for row in content["added_tokens"] if row["special"]}
        vocabulary |= {row["content"]: row["id"] for row in content["added_tokens"]}
        around = (content.get("post_processor") or {}).get("special_tokens")
        around = around.values() if isinstance(around, dict) else ()
        around = [(token, number) for row in around for token, number in zip(row["tokens"], row["ids"], strict=True)]
        size = max(vocabulary.values()) + 1
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise IntegrityError(f"{path}: no tokenizer of the tokenizers library ({error!r})") from error
    inner = config.encoder_config if own else config
    rows = getattr(inner, "vocab_size", None)
    if rows is not None and size > rows:
        raise IntegrityError(
            f"{path} has {size} tokens, but config.json says that the encoder has embeddings for {rows}"
        )
    if wrong := [token for token, number in around if vocabulary.get(token) != number]:
        raise IntegrityError(f"{path}: the post-processor and the vocabulary number {wrong[0]!r} differently")
    for name, token in settings.items():
        token = token.get("content") if isinstance(token, dict) else token
        if name.endswith("_token") and isinstance(token, str) and token not in vocabulary:
            raise IntegrityError(f"{path} has no {token!r}, the {name} of tokenizer_config.json")
    if not own:
        return
    try:
        tasks = [i for task in config.tasks for i in (*task["prefix_ids"], *task["suffix_ids"])]
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{folder / 'config.json'}: a task lacks {error}") from error
    if wrong := sorted({*config.cls_ids, *config.sep_ids, *tasks} - set(special.values())):
        raise IntegrityError(
            f"{folder / 'config.json'} puts the token {wrong[0]} around texts, which {path.name} hasn't as a special one"
        )
    pad = settings.get("pad_token")
    pad = vocabulary.get(pad.get("content") if isinstance(pad, dict) else pad)
    if config.pad_token_id != pad:
        raise IntegrityError(f"{path}: the pad token has the number {pad}, but config.json says {config.pad_token_id}")
