"""The listener for what speaks plain HTTP: pages, keys, and proxies that ask who is let through.

What browsers ask as JSON is gRPC, which the edge translates; here is what an edge cannot translate. Only GET and HEAD,
no bodies, nothing changes by a request.

`listener` the port and its bounds · `application` which path leads where · `answers` what every answer looks like ·
`check` whom proxies let through · `known` the key set and the metadata · `page_files` the pages · `returning` where to
after a login · `inside` what the rest of the service offers to all of this
"""
