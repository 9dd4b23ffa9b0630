// Browsers start no worker from a file: the search of pages that are opened without a server runs
// in a frame of its own instead, with the messages that a worker would get and send.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      const inner = frame.contentWindow;
      this.ready = new Promise((resolve) => {
        inner.postMessage = (data) =>
          this.dispatchEvent(new MessageEvent("message", { data }));
        inner.importScripts = () => Promise.resolve(); // languages other than English
        const script = inner.document.createElement("script");
        script.src = new URL(url, location.href).href;
        script.onload = () => resolve(inner);
        inner.document.body.appendChild(script);
      });
    }

    postMessage(data) {
      this.ready.then((inner) =>
        inner.dispatchEvent(new inner.MessageEvent("message", { data })),
      );
    }
  };
}
