# The suite's own binary, for the container that owns a node's network namespace.
FROM scratch
COPY coup /coup
EXPOSE 4901
ENTRYPOINT ["/coup", "packet-agent"]
