import hashlib
import random

import pytest

from evalsuite.record.digest import (
    digest_json,
    hash_files,
    in_threads,
    merkle_root,
    sha256_bytes,
    sha256_file,
)

# Test vectors of the Certificate Transparency reference implementation (google/certificate-transparency,
# merkletree/merkle_tree_test.cc): eight leaves and the RFC 6962 root over the first n of them.
LEAVES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("n", range(1, 9))
def test_merkle_root_matches_certificate_transparency(n):
    assert merkle_root(LEAVES[:n]) == ROOTS[n - 1]


def test_merkle_root_of_nothing():
    assert merkle_root([]) == hashlib.sha256(b"").hexdigest()


def _recursive(leaves):
    # RFC 6962 section 2.1, word for word: split at the largest power of two smaller than n.
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + _recursive(leaves[:k]) + _recursive(leaves[k:])).digest()


@pytest.mark.parametrize("n", [*range(1, 40), 127, 128, 129])
def test_merkle_root_matches_the_definition(n):
    leaves = [random.Random(i).randbytes(i % 7) for i in range(n)]
    assert merkle_root(leaves) == _recursive(leaves).hex()


def test_sha256_known_answers(tmp_path):
    # FIPS 180-4 example: SHA-256("abc").
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_bytes(b"abc") == abc == sha256_file(tmp_path / "abc")
    assert digest_json({"a": 1}) == sha256_bytes(b'{"a":1}')


@pytest.mark.parametrize("workers", [1, 3])
def test_hash_files_matches_hashlib_and_reports_every_byte(tmp_path, workers):
    sizes = [0, 1, 2047, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000]
    paths = []
    for i, size in enumerate(sizes):
        path = tmp_path / str(i)
        path.write_bytes(random.Random(i).randbytes(size))
        paths.append(path)
    seen = []
    digests = hash_files(paths + paths, workers=workers, on_bytes=seen.append)
    assert digests == {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    assert sum(seen) == sum(sizes)


def test_hash_files_raises_or_collects(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    paths = [tmp_path / "a", tmp_path / "none"]
    with pytest.raises(FileNotFoundError):
        hash_files(paths, workers=2)
    failed = []
    assert list(hash_files(paths, on_error=lambda p, e: failed.append((p, e.errno)))) == [tmp_path / "a"]
    assert failed == [(tmp_path / "none", 2)]


def test_copy_while_hashing(tmp_path):
    data = random.Random(1).randbytes(2_500_000)
    (tmp_path / "a").write_bytes(data)
    assert sha256_file(tmp_path / "a", copy_to=tmp_path / "b") == sha256_bytes(data)
    assert (tmp_path / "b").read_bytes() == data


def test_one_failure_stops_all_threads():
    done = []

    def work(i):
        if i == 3:
            raise KeyboardInterrupt
        done.append(i)

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(100_000), workers=4)
    assert len(done) < 100_000


def test_small_files_are_hashed_by_few_threads():
    from evalsuite.record.digest import hashing_threads, usable_cpus

    assert hashing_threads(4000, 4000 * 50_000) == min(2, usable_cpus())
    assert hashing_threads(600, 600 * 8_000_000) == usable_cpus()
    assert hashing_threads(0, 0) >= 1
