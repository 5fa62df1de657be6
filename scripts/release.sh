#!/bin/sh
# Static binaries of both programs for each platform, one archive each, and their checksums.
# Usage: release.sh LDFLAGS OS/ARCH…
set -eu
cd "$(dirname "$0")/.."
ldflags=$1
shift
version=$(git describe --tags --always --dirty 2>/dev/null || echo devel)
rm -rf dist
mkdir -p dist
for platform in "$@"; do
	os=${platform%/*} arch=${platform#*/} suffix=""
	[ "$os" = windows ] && suffix=.exe
	name="shardnode-$version-$os-$arch"
	mkdir -p "dist/$name"
	for program in shardnode coordinator; do
		CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -ldflags "$ldflags" -o "dist/$name/$program$suffix" "./cmd/$program"
	done
	cp LICENSE README.md THIRD_PARTY_NOTICES.md models/NOTICE "dist/$name/"
	tar -C dist --sort=name --owner=0 --group=0 --numeric-owner --mtime='2026-01-01' -czf "dist/$name.tar.gz" "$name"
	rm -rf "dist/$name"
done
cd dist
sha256sum ./*.tar.gz | tee SHA256SUMS
