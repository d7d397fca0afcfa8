"""Readers of the published on-disk layouts; none of the pictures comes with the library."""

from __future__ import annotations

from meetmid.evaluation.protocols.helen import read_helen
from meetmid.evaluation.protocols.layout import PairProtocol, Sample, SearchProtocol, subsets
from meetmid.evaluation.protocols.lfw import read_calfw, read_cplfw, read_lfw, read_xqlfw
from meetmid.evaluation.protocols.nir import read_buaa, read_casia, read_oulu
from meetmid.evaluation.protocols.scface import read_scface
from meetmid.evaluation.protocols.surveillance import read_frmdb, read_survface, read_survface_pairs, read_tinyface
from meetmid.evaluation.protocols.tables import read_folders, read_portraits, read_table
from meetmid.evaluation.protocols.thermal import read_arl_vtf, read_speaking_faces, read_tufts, read_vis_th

__all__ = [
    "PairProtocol",
    "Sample",
    "SearchProtocol",
    "read_arl_vtf",
    "read_buaa",
    "read_calfw",
    "read_casia",
    "read_cplfw",
    "read_folders",
    "read_frmdb",
    "read_helen",
    "read_lfw",
    "read_oulu",
    "read_portraits",
    "read_scface",
    "read_speaking_faces",
    "read_survface",
    "read_survface_pairs",
    "read_table",
    "read_tinyface",
    "read_tufts",
    "read_vis_th",
    "read_xqlfw",
    "subsets",
]
