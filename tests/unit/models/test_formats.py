"""The list of package formats: built-in ones and plugins by the same road, told apart by content."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from evalsuite import registry
from evalsuite.errors import InputError, ModelLoadError
from evalsuite.models import formats as known
from evalsuite.models.package import locate


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a distribution with one model format; its module's text is the argument."""

    def install(text: str, *, name: str = "acme", distribution: str = "acme-models") -> Path:
        site = tmp_path / "site"
        info = site / f"{distribution.replace('-', '_')}-2.1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n")
        (info / "entry_points.txt").write_text(f"[evalsuite.models]\n{name} = acme_{distribution[-1]}:FORMAT\n")
        (site / f"acme_{distribution[-1]}.py").write_text(text)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, f"acme_{distribution[-1]}", raising=False)
        known.formats.cache_clear()
        return site

    yield install
    known.formats.cache_clear()


GOOD = """
from evalsuite.models.formats import ModelFormat
FORMAT = ModelFormat(name="acme", what="Acme box", files=".acme", executes="the box",
                     recognise=lambda glance: glance.suffix == ".acme", load=None)
"""


def test_built_in_formats_all_load_and_are_named_as_listed():
    assert list(known.formats()) == list(known.BUILT_IN)
    assert {known.origin_of(name) for name in known.BUILT_IN} == {"evalsuite"}


def test_a_plugin_is_recognised_and_named_with_its_version(plugin, tmp_path):
    plugin(GOOD)
    (tmp_path / "m.acme").write_bytes(b"box")
    assert locate(tmp_path / "m.acme").format == "acme"
    assert known.origin_of("acme") == "acme-models 2.1"


def test_a_plugin_cannot_take_over_a_known_format(plugin, tmp_path):
    plugin(GOOD.replace('glance.suffix == ".acme"', "True"))
    (tmp_path / "p.csv").write_text("case_id,p\na,1\n")
    assert locate(tmp_path / "p.csv").format == "recorded"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", r"acme of acme-models 2\.1 cannot be imported \(ModuleNotFoundError\)"),
        ("raise SystemError('no')", r"acme-models 2\.1 cannot be imported \(SystemError\)"),
        ("x = 1", r"acme-models 2\.1 cannot be imported \(AttributeError\)"),
        ("FORMAT = 3", "is a int where a ModelFormat is expected"),
        (GOOD.replace('name="acme"', 'name="other"'), "calls itself 'other'"),
    ],
)
def test_a_plugin_that_does_not_work_is_an_error(plugin, tmp_path, text, said):
    plugin(text)
    (tmp_path / "p.csv").write_text("case_id,p\na,1\n")
    with pytest.raises(InputError, match=said):
        locate(tmp_path / "p.csv")


def test_two_components_of_one_name_are_an_error(plugin):
    plugin(GOOD)
    plugin(GOOD, distribution="other-box")
    with pytest.raises(InputError) as caught:
        registry.components(registry.MODELS, known.BUILT_IN)
    assert "acme-models 2.1" in str(caught.value)
    assert "other-box 2.1" in str(caught.value)
    with pytest.raises(InputError, match="same name"):
        registry.components(registry.MODELS, {"acme": "x:y"})


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "{}")
    return path


def test_a_pt2_with_a_native_library_is_told_from_an_exported_program(tmp_path):
    library = ("a/archive_format", "a/data/aotinductor/model/x.wrapper.so")
    assert locate(archive(tmp_path / "native.pt2", *library)).format == "aotinductor"
    # with both, the guarded loader of torch.export refuses the library
    assert locate(archive(tmp_path / "both.pt2", *library, "a/models/model.json")).format == "torch.export"


def test_weights_alone_are_no_model(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(ModelLoadError, match="without a network") as caught:
        locate(tmp_path / "w.safetensors")
    assert "entry_point" in caught.value.hint


def test_a_link_out_of_a_package_is_refused(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "evalsuite-model.yaml").write_text("entry_point: network:build\n")
    (tmp_path / "secret.py").write_text("")
    (package / "network.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(ModelLoadError, match=r"network\.py in package is a link out of the package"):
        locate(package)
