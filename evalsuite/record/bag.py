"""A folder of files that anybody can check without this program: the BagIt layout, as a folder or as one zip file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from evalsuite.errors import IntegrityError
from evalsuite.record.digest import hash_files, sha256_file
from evalsuite.record.envelope import envelope_path
from evalsuite.record.files import walk_files, writing
from evalsuite.record.trust import Check

#: Where the payload lies, and what the tag files beside it are called (RFC 8493).
PAYLOAD = "data"
DECLARATION = "bagit.txt"
INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
TAG_ENVELOPE = envelope_path(Path(TAG_MANIFEST)).name
#: Any of these is enough to know a bag that lost the others.
TAGS = (DECLARATION, MANIFEST, TAG_MANIFEST, INFO)
#: Field of bag-info.txt: the key that signed, inside the bytes that the signature covers.
SIGNED_BY = "Evalsuite-Signed-By-Key"
OXUM = "Payload-Oxum"

_DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_TOP = "evalsuite-package"
#: Zip files hold a time per entry; the first one the format knows says that ours means nothing.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX, _FILE_MODE = 3, 0o100644 << 16


def write_tags(bag: Path, info: Mapping[str, str]) -> str:
    """Write the tag files of a bag whose payload lies in `bag`/data; returns the SHA-256 of its tag manifest.

    Parameters
    ----------
    info
        Fields of bag-info.txt, in their order; the size of the payload is added. No time is written: the same payload
        and fields make the same bytes.

    Raises
    ------
    OutputError
        If a file cannot be written.

    References
    ----------
    Kunze J, Littman J, Madden E, Scancella J, Adams C. The BagIt File Packaging Format (V1.0). RFC 8493, 2018.
    """
    names = walk_files(bag / PAYLOAD)
    size = sum((bag / PAYLOAD / n).stat().st_size for n in names)
    fields = {**info, OXUM: f"{size}.{len(names)}"}
    _write(bag / DECLARATION, _DECLARED)
    _write(bag / INFO, "".join(f"{k}: {v}\n" for k, v in fields.items()).encode())
    _write(bag / MANIFEST, _lines(bag, [f"{PAYLOAD}/{n}" for n in names]))
    _write(bag / TAG_MANIFEST, _lines(bag, [INFO, DECLARATION, MANIFEST]))
    return sha256_file(bag / TAG_MANIFEST)


def read_info(bag: Path) -> dict[str, str]:
    """Fields of bag-info.txt; empty where it is missing or not text. No field of ours runs over several lines."""
    try:
        text = (bag / INFO).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return {k: v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}


def check_bag(bag: Path) -> list[Check]:
    """Compare a folder with its manifests; never raises for a damaged bag.

    Returns
    -------
    list of Check
        `bag` (bagit.txt, bag-info.txt and the manifests are those of the tag manifest, and nothing else lies beside
        them), `payload` (no file of data/ was added, removed, changed or renamed).
    """
    try:
        present = walk_files(bag)
        links = [n for n in present if (bag / n).is_symlink()]
        tags = _parsed(bag / TAG_MANIFEST)
        payload = _parsed(bag / MANIFEST)
    except (IntegrityError, OSError) as error:
        said = error.message if isinstance(error, IntegrityError) else f"cannot be read ({error.strerror})"
        return [Check(name="bag", status="broken", detail=said)]
    mine = [n for n in present if not n.startswith(f"{PAYLOAD}/") and n not in (TAG_MANIFEST, TAG_ENVELOPE)]
    faults = [f"a link: {n}" for n in links]
    faults += [f"not in {TAG_MANIFEST}: {n}" for n in (DECLARATION, INFO, MANIFEST) if n not in tags]
    faults += _faults(bag, tags, mine)
    if (bag / DECLARATION).is_file() and (bag / DECLARATION).read_bytes() != _DECLARED:
        faults.append(f"{DECLARATION} is not that of BagIt 1.0")
    found = _faults(bag, payload, [n for n in present if n.startswith(f"{PAYLOAD}/")])
    size = sum((bag / n).stat().st_size for n in payload if (bag / n).is_file())
    if not found and read_info(bag).get(OXUM) != f"{size}.{len(payload)}":
        found.append(f"{INFO} names another size ({OXUM})")
    return [
        _check("bag", faults, f"BagIt 1.0, tag manifest SHA-256 {sha256_file(bag / TAG_MANIFEST)}"),
        _check("payload", found, f"{len(payload)} files, {size:,} bytes, none added, removed, changed or renamed"),
    ]


def write_zip(bag: Path, out: Path, *, top: str = _TOP) -> None:
    """Write a bag as a zip file of one folder `top`; the same bag makes the same bytes (no times, no compression).

    Raises OutputError if it cannot be written.
    """
    with writing(out), zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
        for name in walk_files(bag):
            entry = zipfile.ZipInfo(f"{top}/{name}", _NO_TIME)
            entry.create_system, entry.external_attr = _UNIX, _FILE_MODE
            entry.file_size = (bag / name).stat().st_size
            with (bag / name).open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(1 << 20):
                    target.write(block)


def unpack_zip(path: Path, into: Path) -> Path:
    """Unpack a zip file made by `write_zip` into the empty folder `into`; returns the bag's folder.

    Raises
    ------
    IntegrityError
        If it is no zip file, damaged, or not byte for byte what `write_zip` writes of its contents.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            tops = {e.filename.partition("/")[0] for e in entries}
            _require_plain(path, entries, tops)
            archive.extractall(into)
    # NotImplementedError: zipfile's word for a version of the format it does not know
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
        raise IntegrityError(f"{path.name} is damaged ({type(error).__name__})") from error
    bag = into / next(iter(tops))
    again = into / f"{'x' * 8}{bag.name}.zip"
    write_zip(bag, again, top=bag.name)
    same = sha256_file(again) == sha256_file(path)
    again.unlink()
    if not same:
        raise IntegrityError(
            f"{path.name} is not the file that was written: its contents, packed again, give other bytes",
            hint="Where another program packed it, unpack it and verify the folder.",
        )
    return bag


def _require_plain(path: Path, entries: Iterable[zipfile.ZipInfo], tops: set[str]) -> None:
    """IntegrityError for names that lead outside, twice the same, several folders, or contents that are compressed."""
    names = [e.filename for e in entries]
    strange = [
        e.filename
        for e in entries
        if e.compress_type != zipfile.ZIP_STORED
        or e.flag_bits & 1
        or e.file_size != e.compress_size
        or e.filename.startswith("/")
        or "\\" in e.filename
        or any(p in ("", ".", "..") for p in e.filename.split("/"))
        or len(PurePosixPath(e.filename).parts) == 1
    ]
    if strange or len(tops) != 1 or len(set(names)) != len(names):
        raise IntegrityError(
            f"{path.name} is not as it was written: it holds names or compression a package does not have",
            hint="Where another program packed it, unpack it and verify the folder.",
        )


def _faults(bag: Path, listed: Mapping[str, str], present: Iterable[str]) -> list[str]:
    """What was added, removed, changed or renamed, each by its name."""
    there = set(present)
    unreadable: list[str] = []
    digests = hash_files((bag / n for n in sorted(there)), on_error=lambda p, _: unreadable.append(str(p)))
    found = {n: digests.get(bag / n) for n in there}
    missing, extra = set(listed) - there, there - set(listed)
    faults = []
    for name in sorted(extra):
        before = next((m for m in sorted(missing) if listed[m] == found[name]), None)
        if before is None:
            faults.append(f"extra: {name}")
        else:
            missing.discard(before)
            faults.append(f"renamed: {before} is now {name}")
    faults += [f"missing: {n}" for n in sorted(missing)]
    for name in sorted(there & set(listed)):
        if found[name] is None:
            faults.append(f"unreadable: {name}")
        elif found[name] != listed[name]:
            faults.append(f"changed: {name}")
    return faults


def _check(name: str, faults: list[str], holds: str) -> Check:
    return Check(name=name, status="broken" if faults else "holds", detail="; ".join(faults) or holds)


def _lines(bag: Path, names: list[str]) -> bytes:
    digests = hash_files(bag / n for n in names)
    return "".join(f"{digests[bag / n]}  {_encoded(n)}\n" for n in names).encode()


def _parsed(path: Path) -> dict[str, str]:
    """A manifest: path to SHA-256. IntegrityError where it is missing, or not in the form it was written in."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise IntegrityError(f"{path.name} is missing") from None
    except UnicodeDecodeError:
        raise IntegrityError(f"{path.name} is not text") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        digest, gap, name = line[:64], line[64:66], line[66:]
        plain = _decoded(name)
        outside = plain.startswith("/") or ".." in PurePosixPath(plain).parts
        if gap != "  " or not name or outside or plain in found or set(digest) - set("0123456789abcdef"):
            raise IntegrityError(f"{path.name}, line {number}, is not in the form it was written in")
        found[plain] = digest
    if not text.endswith("\n"):
        raise IntegrityError(f"{path.name} does not end as it was written")
    return found


def _encoded(name: str) -> str:
    return name.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def _decoded(name: str) -> str:
    return name.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")


def _write(path: Path, data: bytes) -> None:
    with writing(path):
        path.write_bytes(data)
