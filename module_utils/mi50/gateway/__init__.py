"""One endpoint for all nodes: HAProxy before the engines that the inventory names.

`derive` turns the inventory into engines (on the controller), `render` those into HAProxy's files, `service` plans,
proves and switches them on the gateway's host, `mi50.seal` brings an engine's key there without anybody reading it on
the way, `admin` talks to HAProxy's socket, `drain` takes a node out and back in. docs/gateway.md says why it is so.
"""
