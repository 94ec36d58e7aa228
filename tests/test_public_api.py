"""The public names: complete in three places, importable, documented, and free of side effects."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pixelwise as pw

SOURCE = Path(pw.__file__)


def type_checking_imports() -> dict[str, str]:
    """Return name → module of the imports below `if TYPE_CHECKING`."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: str(node.module).removeprefix("pixelwise.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def run_python(code: str) -> str:
    """Return what Python prints for this code in a new process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_three_lists_of_public_names_are_equal() -> None:
    assert type_checking_imports() == pw._MODULES
    assert sorted(pw._MODULES) == sorted(pw.__all__)
    assert len(set(pw.__all__)) == len(pw.__all__)


def test_dir_lists_the_public_names_before_their_first_use() -> None:
    assert json.loads(run_python("import json, pixelwise; print(json.dumps(dir(pixelwise)))")) == sorted(pw.__all__)


@pytest.mark.parametrize("name", pw.__all__)
def test_every_name_is_imported_from_the_module_that_defines_it(name: str) -> None:
    value = getattr(pw, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        module = f"pixelwise.{pw._MODULES[name]}"
        assert value.__module__ == module or value.__module__.startswith(f"{module}.")
        assert value.__name__ == name
        assert inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pw.nothing


def test_the_errors_are_public() -> None:
    from pixelwise import errors

    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert classes <= set(pw.__all__)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import pixelwise; print(*(set(sys.modules) - before))"
    heavy = {"torch", "numpy", "timm", "PIL", "matplotlib", "pydantic", "yaml"}
    imported = set(run_python(code).split())
    assert "pixelwise" in imported and not imported & heavy


def test_modules_that_read_data_do_not_import_torch() -> None:
    code = (
        "import sys, pixelwise as pw; pw.load_dataset, pw.inspect, pw.pack, pw.Task, pw.Record, pw.register_format; "
        "print('torch' in sys.modules)"
    )
    assert run_python(code).strip() == "False"
