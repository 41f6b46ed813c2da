"""`restore_dataset`: rows in, results and records out; the last test through a real cluster of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from restorer import Restorer
from restorer.batch.journal import NAME
from restorer.cluster import restore_dataset
from restorer.cluster.dataset import RestoreRows
from restorer.errors import UsageError
from restorer.options import Options
from tests.support.albums import PLAIN, environment, files, picture, run

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pa = pytest.importorskip("pyarrow", reason="the extra `cluster` is not installed")

OPTIONS: dict[str, Any] = {"model": "none", "background": "lanczos", "offline": True, "scale": 1.5}


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three photos, a letter with a photo's suffix, and one that is not there."""
    found = [tmp_path / "album" / name for name in ("a.jpg", "b.png", "c.tif", "letter.jpg", "gone.png")]
    for number, path in enumerate(found[:3]):
        picture(path, seed=number)
    found[3].write_bytes(b"This is a letter.")
    return found


def rows(table: Any) -> list[dict[str, Any]]:
    return [row | {"record": json.loads(row["record"])} for row in table.to_pylist()]


def check(told: list[dict[str, Any]], photos: list[Path]) -> None:
    """Compare rows with what one restorer makes of the same bytes."""
    restorer = Restorer(**OPTIONS)
    for row, path in zip(told, photos, strict=True):
        wanted, record = restorer.restore_bytes(path.read_bytes()) if path.exists() else (b"", None)
        assert row["result"] == wanted
        assert row["record"]["status"] == ("ok" if wanted else "failed")
        assert row["record"]["input"] == str(path)
        if record is not None:
            assert row["record"]["output_size"] == record.as_dict()["output_size"]
    kinds = [row["record"]["error"] and row["record"]["error"]["kind"] for row in told]
    assert kinds == [None, None, None, "UnreadablePhoto", "UnreadablePhoto"]


def test_rows_with_paths_keep_what_they_had(photos: list[Path]) -> None:
    step = RestoreRows(Options.of(**OPTIONS))
    batch = pa.table({"path": [str(path) for path in photos], "album": list("vwxyz"), "result": [b"old"] * 5})
    done = step(batch)
    assert done.column_names == ["path", "album", "result", "record"]
    assert done["album"].to_pylist() == list("vwxyz")
    check(rows(done), photos)


def test_of_path_and_bytes_the_bytes_count(photos: list[Path], tmp_path: Path) -> None:
    step = RestoreRows(Options.of(**OPTIONS))
    data = photos[0].read_bytes()
    batch = pa.table({"bytes": [data, None], "path": ["nowhere/a.jpg", str(photos[1])]})
    first, second = rows(step(batch))
    assert first["result"] == Restorer(**OPTIONS).restore_bytes(data)[0]
    assert first["record"]["input"] == "nowhere/a.jpg"
    assert second["record"]["status"] == "ok"
    (alone,) = rows(step(pa.table({"bytes": [data]})))
    assert alone["result"] == first["result"]
    assert alone["record"]["input"] == "-"


def test_no_rows_are_a_table_with_all_columns() -> None:
    done = RestoreRows(Options.of(**OPTIONS))(pa.table({"path": pa.array([], pa.string())}))
    assert done.num_rows == 0
    assert done.column_names == ["path", "result", "record"]


def test_what_makes_no_sense_is_said_before_anything_is_done() -> None:
    class Rows:
        def columns(self) -> list[str]:
            return ["image", "label"]

    with pytest.raises(UsageError, match='neither "path" nor "bytes", but image, label'):
        restore_dataset(Rows(), OPTIONS)
    with pytest.raises(UsageError):
        restore_dataset(Rows(), {"modell": "none"})


SCRIPT = """
import json, subprocess, sys
import ray
from restorer.cluster import restore_dataset

told = json.loads(sys.stdin.read())
ray.init(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, _temp_dir=told["folder"])
ray.data.DataContext.get_current().enable_progress_bars = False
given = ray.data.from_items([{"path": path, "name": path[-5:]} for path in told["paths"]])
done = restore_dataset(given, told["options"], batch_size=2, workers=1).take_all()
for row in done:
    row["result"] = row["result"].hex()
command = [*told["command"], "--cluster", ray.get_runtime_context().gcs_address]
code = subprocess.run(command, stdout=sys.stderr).returncode
print(json.dumps({"rows": done, "code": code}))
ray.shutdown()
"""


@pytest.mark.slow  # on a busy machine Ray takes minutes to start, and may give up
@pytest.mark.timeout(600)
def test_a_real_cluster_gives_the_bytes_of_one_machine(photos: list[Path], tmp_path: Path) -> None:
    """One start of Ray for both ways of using it: a pipeline of somebody's own, and the command."""
    options = (*PLAIN, "--offline", "--scale", "1.5", "-q")
    run(tmp_path, "album", "-o", "one", *options, code=1)
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # its sockets bear no long path
        told = {
            "folder": folder, "options": OPTIONS, "paths": [str(path) for path in photos],
            "command": [sys.executable, "-m", "restorer", "album", "-o", "many", *options],
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=json.dumps(told), capture_output=True, text=True, cwd=tmp_path, timeout=500, check=False,
            env=environment() | {"RAY_raylet_start_wait_time_s": "240", "RAY_memory_monitor_refresh_ms": "0"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    by_path = {row["path"]: row for row in said["rows"]}
    told_rows = [by_path[str(path)] for path in photos]
    assert [row["name"] for row in told_rows] == [str(path)[-5:] for path in photos]
    for row in told_rows:
        row["record"], row["result"] = json.loads(row["record"]), bytes.fromhex(row["result"])
    check(told_rows, photos)
    assert said["code"] == 1, done.stderr
    one, many = files(tmp_path / "one"), files(tmp_path / "many")
    assert len(one) == 3 + 1
    assert one.keys() == many.keys()
    assert all(many[name] == one[name] for name in one if name != NAME)
