"""Client of paho-mqtt: subscribes to a topic, publishes to it, and prints what it has received as JSON.

Arguments: port, MQTT version (4 or 5), QoS, topic, number of messages. It publishes all at once, waits for their
acknowledgements, and ends with a message of its own.
"""
import json
import sys

import paho.mqtt.client as mqtt

port, version, qos, count = (int(sys.argv[index]) for index in (1, 2, 3, 5))
topic = sys.argv[4]
name = f"paho-{version}-{qos}-{topic}"
published = []
received = []


def on_connect(client, userdata, flags, code, *properties):
    client.subscribe([(topic, qos), (f"end/{name}", 1)])


def on_subscribe(client, userdata, mid, granted, *properties):
    published.extend(client.publish(topic, str(index), qos=qos) for index in range(count))


def on_message(client, userdata, message):
    if message.topic == topic:
        received.append(message.payload.decode())
    else:
        client.disconnect()


# paho-mqtt 2 requires the version of its callback API.
api_version = {"callback_api_version": mqtt.CallbackAPIVersion.VERSION1} if hasattr(mqtt, "CallbackAPIVersion") else {}
client = mqtt.Client(client_id=name, protocol=mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311, **api_version)
client.max_inflight_messages_set(count)
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_message
client.connect("127.0.0.1", port)
has_ended = False
while client.loop(timeout=0.1) == mqtt.MQTT_ERR_SUCCESS:
    if not has_ended and len(published) == count and all(each.is_published() for each in published):
        has_ended = True
        client.publish(f"end/{name}", "end", qos=1)
print(json.dumps({"acknowledged": sum(each.is_published() for each in published), "received": received}))
