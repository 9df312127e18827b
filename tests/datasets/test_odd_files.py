"""Files that look like data, and hold none."""

import io
import os
import pathlib
import zipfile

import numpy as np
import pytest

from keras_ae import datasets

pytestmark = pytest.mark.backend_free


def write_npy(path, header):
    header = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(99))


def write_zip(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 6), ",
        "'''",
        "9" * 5000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (60, -6)}",
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**20}, 6)}}",
    ],
)
def test_headers_of_arrays(header, tmp_path):
    write_npy(tmp_path / "x.npy", header)
    with pytest.raises(ValueError, match="x.npy' cannot be read"):
        datasets.load(tmp_path / "x.npy")


def test_archives_without_arrays(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((20, 6), "float32"))
    write_zip(tmp_path / "text.npz", x=b"hello")
    write_zip(tmp_path / "labels.npz", **{"x.npy": buffer.getvalue(), "y": b"a"})
    for name in ("text.npz", "labels.npz"):
        with pytest.raises(ValueError, match="is not an array"):
            datasets.load(tmp_path / name)


def test_a_folder_of_pictures_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    real = os.scandir

    def scandir(path):
        if pathlib.Path(path).name == "pictures":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="pictures"):
        datasets.load(tmp_path / "pictures")
