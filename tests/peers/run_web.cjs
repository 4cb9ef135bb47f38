// Run an exported ONNX file in onnxruntime-web (WebAssembly), as a browser does; called by run_exports.py.
//
//     node run_web.cjs FILE < inputs.json > output.json
//
// Input: {"NAME": {"type": "float32" or "int64", "shape": [...], "values": [...]}}. Output: the values of the first
// output. NODE_PATH holds the package onnxruntime-web.
const fs = require("node:fs");
const ort = require("onnxruntime-web");

ort.env.wasm.numThreads = 1;

async function main() {
  const session = await ort.InferenceSession.create(fs.readFileSync(process.argv[2]), { executionProviders: ["wasm"] });
  const feeds = {};
  for (const [name, { type, shape, values }] of Object.entries(JSON.parse(fs.readFileSync(0, "utf8")))) {
    const data = type === "int64" ? BigInt64Array.from(values, BigInt) : Float32Array.from(values);
    feeds[name] = new ort.Tensor(type, data, shape);
  }
  const outputs = await session.run(feeds);
  process.stdout.write(JSON.stringify(Array.from(outputs[session.outputNames[0]].data)));
}

main().catch((error) => {
  process.stderr.write(`${error.message ?? error}\n`);
  process.exit(1);
});
