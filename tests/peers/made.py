"""Peers of the settings, as objects that send: what tests of delivery and negotiation talk to."""

from dicom_pipeline.config import DicomPeer, DicomWebPeer, FolderPeer, OrthancPeer
from dicom_pipeline.peers.dicom_node import DicomNode
from dicom_pipeline.peers.dicomweb import DicomWebServer
from dicom_pipeline.peers.folder import Folder
from dicom_pipeline.peers.orthanc import OrthancServer


def dicom_node(title, port, *, name="pacs", host="127.0.0.1", calling="US", verify="none", timeout_seconds=5, **tls):
    """A DICOM node that is called as `calling`."""
    peer = DicomPeer(
        type="dicom",
        name=name,
        ae_title=title,
        host=host,
        port=port,
        timeout_seconds=timeout_seconds,
        deliver={"verify": verify},
        **tls,
    )
    return DicomNode(peer, calling)


def folder(path, name="f"):
    """A folder of reports."""
    return Folder(FolderPeer(type="folder", name=name, path=path))


def orthanc_server(url, *, name="o", password=None, verify="read-back", **values):
    """An Orthanc's REST API."""
    return OrthancServer(
        OrthancPeer(type="orthanc", name=name, url=url, deliver={"verify": verify}, **values), password
    )


def dicomweb_server(url, *, name="web", password=None, token=None, verify="read-back", **values):
    """A DICOMweb server."""
    peer = DicomWebPeer(type="dicomweb", name=name, url=url, deliver={"verify": verify}, **values)
    return DicomWebServer(peer, password, token)
