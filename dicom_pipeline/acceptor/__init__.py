"""LISTEN: a DICOM node as acceptor, from the socket to the answer of each message.

On the wire: pdu (PDUs), acse (association negotiation), dimse (commands), association (one connection), tls, certificates
(are our files good) and tls_advice (why a handshake failed). admission (who may send); listener accepts connections and gives
each a thread. What is done for a peer is a table: operations.
"""
