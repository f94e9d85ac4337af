"""REMOTE: other systems, one kind a file: dicom_node, dicomweb, orthanc, folder. peer says what one can do; sending (of files).

What a DICOM node is asked: query (C-FIND), commitment (Storage Commitment as SCU). What answers mean: statuses, peer_messages
(without patient data), tls_advice (why a handshake failed), comparison (of what was sent and what is read back).
"""
