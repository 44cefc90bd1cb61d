// What tests and benchmarks put into a page to talk to its worker: `worker` is one; parts of answers are kept in order.
const parts = [];
const ask = (question) => new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => {
    if (data.part) parts.push(data.part);
    else if (data.failed) reject(new Error(JSON.stringify(data.failed)));
    else resolve(data.done);
  };
  worker.postMessage({ id: 1, ...question });
});
const packed = (values) => {
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = "";
  for (let at = 0; at < raw.length; at += 8192) text += String.fromCharCode(...raw.subarray(at, at + 8192));
  return btoa(text);
};
