// What only the WebUI can do for the tab: its own progress bar over a training, and "Send to txt2img".
// `celebbasis_ext/ui/tab.js` looks for this object when the page is there, and is the same without it.

(() => {
  let shown = "";

  window.celebbasisInWebUI = {
    // Called again and again with what the page knows of the training: {job, state, active}.
    onJob(training) {
      const container = gradioApp().querySelector("#celebbasis_progress");
      if (!container || training.state !== "running" || training.job === shown) return;
      shown = training.job;
      requestProgress(`task(celebbasis-${training.job})`, container, null, () => {});
    },

    send(word) {
      const field = gradioApp().querySelector("#txt2img_prompt textarea");
      if (!field) return;
      field.value = field.value.trim() ? `${field.value.trim()}, ${word}` : `a photo of ${word}`;
      updateInput(field);
      switch_to_txt2img();
    },
  };
})();
