#!/bin/sh
# Prints nats-users.conf: what the collectors may do, and each of the nodes that are named. It is
# what deploy/mosquitto/acl says in patterns, which NATS does not have.
#   ./users.sh node-1 node-2 > /etc/nats-users.conf
# So never call a node "collector".
set -eu

echo 'users = ['
cat <<'END'
  {
    user: "CN=collector"
    permissions {
      publish { allow: ["meterhouse.v1.*.*.*.receipt"] }
      subscribe {
        allow: ["meterhouse.v1.*.*.*.report", "meterhouse.v1.*.*.*.status", "$MQTT.sub.>"]
      }
    }
  }
END
for node in "$@"; do
  case $node in
    *[!a-z0-9_-]* | '' | collector) echo "$0: $node is no name of a node" >&2; exit 2 ;;
  esac
  cat <<END
  {
    user: "CN=$node"
    permissions {
      publish {
        allow: ["meterhouse.v1.*.*.$node.report", "meterhouse.v1.*.*.$node.status"]
      }
      subscribe { allow: ["meterhouse.v1.*.*.$node.receipt"] }
    }
  }
END
done
echo ']'
