"""Stands in for a model server where a client is tried: its protocols around a loaded SavedModel.

It shows that a client's messages are what the protocols' own definitions say; it is not TF Serving.
"""

import contextlib
import json
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def grpc_server(signatures, model_name):
    """Yields the port of a PredictionService on loopback."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == model_name
            given = {n: tf.constant(tf.make_ndarray(t)) for n, t in request.inputs.items()}
            try:
                made = signatures[request.model_spec.signature_name](**given)
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            outputs = {n: tf.make_tensor_proto(t.numpy()) for n, t in made.items()}
            return predict_pb2.PredictResponse(outputs=outputs)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@contextlib.contextmanager
def rest_server(signatures, model_name):
    """Yields the port of POST /v1/models/NAME:predict on loopback, in columns and in rows."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == f"/v1/models/{model_name}:predict"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, _predict(signatures, body)
            except tf.errors.InvalidArgumentError as error:
                status, answer = 400, {"error": str(error)}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments):
            """Nothing: tests are quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def _predict(signatures, body):
    signature = signatures[body["signature_name"]]
    dtypes = {n: spec.dtype for n, spec in signature.structured_input_signature[1].items()}
    if "instances" in body:
        (name,) = dtypes  # Values without names are of the only input.
        made = signature(**{name: tf.constant(body["instances"], dtypes[name])})
        columns = {n: _plain(t.numpy()) for n, t in made.items()}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return {"predictions": rows if len(columns) > 1 else [r for (r,) in map(dict.values, rows)]}
    given = {n: tf.constant(value, dtypes[n]) for n, value in body["inputs"].items()}
    made = {n: _plain(t.numpy()) for n, t in signature(**given).items()}
    return {"outputs": made if len(made) > 1 else next(iter(made.values()))}


def _plain(array):
    return np.array(array).astype(str).tolist() if array.dtype == object else array.tolist()
