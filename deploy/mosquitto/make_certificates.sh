#!/bin/sh
# Make a certificate authority, the broker's certificate and one per client, in a new folder. For tests and for plants
# without an authority of their own; keep ca.key off the broker and off the devices.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 FOLDER BROKER_HOST_OR_IP [CLIENT ...]" >&2
    echo "a CLIENT is <site>/<line>/<device> or the name of a receiver; its files are named with _ for /" >&2
    exit 2
fi
folder=$1 broker=$2
shift 2
DAYS=${DAYS:-825}

umask 077
mkdir -p "$folder"
cd "$folder"

make_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# make_certificate FILE COMMON_NAME EXTENSIONS: a key and a certificate signed by the authority
make_certificate() {
    make_key "$1.key"
    name=$(printf %s "$2" | sed 's,/,\\/,g')
    printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid "$3" > "$1.ext"
    openssl req -new -key "$1.key" -subj "/CN=$name" |
        openssl x509 -req -days "$DAYS" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
            -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    rm "$1.ext"
}

if [ ! -e ca.key ]; then
    make_key ca.key
    openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=foveate test authority" -out ca.crt \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
fi
case $broker in
*[!0-9.]*) alternative="DNS:$broker" ;;
*) alternative="IP:$broker" ;;
esac
[ -e server.crt ] || make_certificate server "$broker" "extendedKeyUsage=serverAuth
subjectAltName=$alternative"
for client in "$@"; do
    file=$(printf %s "$client" | tr / _)
    [ -e "$file.crt" ] || make_certificate "$file" "$client" extendedKeyUsage=clientAuth
done
chmod 644 ./*.crt
