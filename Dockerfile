# The image of curd-server: one static program, as a user without rights, over the volume /data.
#
#   docker build -t curd-server .
#   docker run -d -p 8000:8000 -v wheels:/data curd-server
#
# Options are arguments (docker run ... curd-server --max-upload 1GiB) or variables
# (CURD_SERVER_MAX_UPLOAD=1GiB). It runs with --read-only and --cap-drop ALL too.
# BUILDER is any image with Go, a shell and CA certificates. INDEX is the URL of the default index, which
# --upstream pypi mirrors; without it upstreams are named by their URL.
ARG BUILDER=docker.io/library/golang:1.26
FROM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG INDEX=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION} -X main.defaultIndex=${INDEX}" -o /out/curd-server ./cmd/curd-server \
	&& mkdir -p /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/curd-server /usr/bin/curd-server
COPY --from=build --chown=65532:65532 /out/data /data
ENV CURD_SERVER_DIRECTORY=/data
USER 65532:65532
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s --retries=3 CMD ["/usr/bin/curd-server", "health"]
ENTRYPOINT ["/usr/bin/curd-server"]
