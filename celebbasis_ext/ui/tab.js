() => {
  // The tab's behaviour: keeps watching a running job, copies words, takes pasted photos, presses cards.
  // Runs once for a page, in the WebUI and in the standalone page; whatever is not there is left alone.
  if (window.celebbasis) return;
  // In the WebUI every answer draws the whole page anew; its own bar says what happens in between.
  const WATCH_EVERY = window.celebbasisInWebUI ? 2500 : 700, IDLE_EVERY = 10000;
  const LOOK_EVERY = 700, CHECK_EVERY = 300, ANSWER_WITHIN = 8000, UPLOAD_WITHIN = 60000;
  const root = () => document.querySelector("#celebbasis_tab");
  const photoField = () => document.querySelector("#celebbasis_photos");
  const press = (id) => { const b = document.querySelector(`#${id}`); (b && b.querySelector("button") || b)?.click(); return !!b; };

  const setText = (id, text) => {
    const field = document.querySelector(`#${id} textarea, #${id} input`);
    if (!field) return false;
    const proto = field.tagName === "TEXTAREA" ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(proto.prototype, "value").set.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    return true;
  };

  // Answers say who is there, and since when; the page came with those of the server's start. What is not ready to hear
  // of a change hears of it again.
  let known = null;
  const watchPeople = () => {
    const at = (said) => Number(said.dataset.at ?? 0);
    const said = [...document.querySelectorAll("#celebbasis_tab [data-people]")].sort((a, b) => at(b) - at(a))[0];
    if (!said || (known && at(said) <= known.at)) return;
    const now = { at: at(said), people: JSON.parse(said.dataset.people) };
    if (known && window.celebbasis.onPeople?.(known.people, now.people) === false) return;
    known = now;
  };

  // Gradio 3 forgets photos if any answer overtakes their upload. The page keeps quiet meanwhile, and hands over again
  // what somebody else's answer has overtaken: the field then waits for an upload that has ended.
  let upload = null;
  const uploading = () => upload && !upload.ended && Date.now() - upload.begun < UPLOAD_WITHIN;
  const onUpload = (event) => {
    const files = [...((event.dataTransfer ?? event.target).files ?? [])];
    if (files.length && photoField()?.contains(event.target)) upload = { files, begun: Date.now(), ended: 0 };
  };
  const seeUploads = (entries) => {
    const sent = entries.getEntries().some((entry) => new URL(entry.name).pathname.endsWith("/upload"));
    if (sent && upload) upload.ended = Date.now();
  };
  const rescueUpload = () => {
    if (!upload?.ended || Date.now() - upload.ended < LOOK_EVERY) return;
    const { files } = upload;
    upload = null;
    if (photoField()?.querySelector(".generating")) handOver(files);
  };

  // The job lives on the server; the page asks how it stands, from its first moment on; seldom while there is none.
  let asked = 0, last = 0, seen = "";
  const watch = () => {
    const job = document.querySelector("#celebbasis_progress .cb-job");
    if (!job || document.hidden || uploading()) return;
    if (job.dataset.at && job.dataset.at !== seen) { seen = job.dataset.at; asked = 0; }
    const waiting = asked && Date.now() - asked < ANSWER_WITHIN;
    const idle = job.dataset.active !== "true" && Date.now() - last < IDLE_EVERY;
    if (idle || waiting) return;
    if (press("celebbasis_watch")) asked = last = Date.now();
    window.celebbasis.onJob?.(job.dataset);
  };

  // Names are checked as they are typed. The hint says which name it is about: as long as that is not the name in the
  // field the server is asked again, because some gradio drops what is typed while it waits for an answer.
  let checked = 0, asking = "";
  const checkNames = () => {
    if (document.hidden || uploading()) return;
    const fields = [...document.querySelectorAll("[id^=celebbasis_name_] textarea, [id^=celebbasis_name_] input")];
    const old = fields.filter((field) => {
      const row = field.closest("[id^=celebbasis_name_]").id.split("_").pop();
      const hint = document.querySelector(`#celebbasis_hint_${row} [data-name]`);
      return field.offsetParent && (hint?.dataset.name ?? "") !== field.value;
    }).map((field) => field.value).join("/");
    if (!old || (old === asking && Date.now() - checked < ANSWER_WITHIN)) return;
    if (press("celebbasis_check")) { asking = old; checked = Date.now(); }
  };

  // Which face is framed follows the choice in the same way.
  const looked = {};
  const checkFaces = () => {
    if (document.hidden || uploading()) return;
    document.querySelectorAll("[id^=celebbasis_face_] input:checked").forEach((choice) => {
      const row = choice.closest("[id^=celebbasis_face_]").id.split("_").pop();
      const framed = document.querySelector(`#celebbasis_portrait_${row} [data-face]`)?.dataset.face;
      const chosen = choice.closest("label").textContent.trim(), now = `${framed} ${chosen}`;
      if (framed === undefined || framed === chosen) return;
      if (looked[row]?.now === now && Date.now() - looked[row].at < ANSWER_WITHIN) return;
      if (press(`celebbasis_look_${row}`)) looked[row] = { now, at: Date.now() };
    });
  };

  const copy = async (button, word) => {
    try { await navigator.clipboard.writeText(word); }
    catch {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code"));
      const selection = getSelection();
      selection.removeAllRanges(); selection.addRange(range);
      document.execCommand("copy");
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  };

  const onClick = (event) => {
    const target = event.target.closest?.("[data-cb-copy], [data-cb-send], [data-cb-person]");
    if (!target || !root()?.contains(target)) return;
    const { cbCopy, cbSend, cbPerson } = target.dataset;
    if (cbCopy) copy(target, cbCopy);
    if (cbSend) window.celebbasis.send(cbSend);
    if (cbPerson) { wanted = cbPerson; wantedAt = 0; checkPerson(); }
  };

  // Some gradio drops what happens while it waits for an answer: whoever was wanted is asked for until they are shown, and
  // who stands in the list is always the one who is shown.
  let wanted = null, wantedAt = 0;
  const showDetails = () => {
    const details = document.querySelector("#celebbasis_details"), box = details?.getBoundingClientRect();
    if (box && (box.top > innerHeight - 80 || box.bottom < 80)) details.scrollIntoView({ block: "start" });
  };
  const checkPerson = () => {
    const cards = [...document.querySelectorAll("#celebbasis_cards [data-cb-person]")];
    const shown = cards.find((card) => card.getAttribute("aria-pressed") === "true")?.dataset.cbPerson;
    const name = wanted ?? document.querySelector("#celebbasis_person input")?.value;
    if (shown === name || !cards.some((card) => card.dataset.cbPerson === name)) {
      if (wanted) showDetails();
      wanted = null;
      return;
    }
    if (Date.now() - wantedAt < LOOK_EVERY) return;
    wantedAt = Date.now();
    if (setText("celebbasis_pressed", name)) setTimeout(() => press("celebbasis_press"), 60);
  };

  // Cards are drawn anew with every answer about them. Who went to one by key stays on it.
  let held = null;
  const hold = (event) => {
    const name = event.target.closest?.("[data-cb-person]")?.dataset.cbPerson;
    held = name ? { name, card: event.target } : null;
  };
  const keepFocus = () => {
    if (!held || held.card.isConnected || document.activeElement !== document.body) return;
    const cards = [...document.querySelectorAll("#celebbasis_tab [data-cb-person]")];
    cards.find((card) => card.dataset.cbPerson === held.name)?.focus({ preventScroll: true });
  };

  // A pasted photo goes where a dropped one would go.
  const onPaste = (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!photoField()?.offsetParent || !files.length) return;
    event.preventDefault(); event.stopPropagation();
    handOver(files);
  };

  // An old gradio takes no more files than it shows, and answers when they are gone: before that nothing may be sent.
  const handOver = (files) => {
    const clear = photoField().querySelector("button[aria-label='Clear']");
    clear?.click();
    setTimeout(() => choose(files), clear ? 1000 : 0);
  };

  const choose = (files) => {
    const input = photoField()?.querySelector("input[type=file]");
    if (!input) return;
    const carrier = new DataTransfer();
    files.forEach((file) => carrier.items.add(file));
    input.files = carrier.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };

  // In the standalone page "Draw with it" leads to its Generate page; in the WebUI, to txt2img. Some gradio has a second,
  // hidden row of tabs, and some makes a page's fields only when it is shown.
  const sendToGenerate = (word) => {
    const tabs = [...document.querySelectorAll("#celebbasis_pages button:not([aria-hidden=true] *)")];
    tabs.find((tab) => tab.textContent.trim() === "Generate")?.click();
    const write = (tries) => {
      if (!setText("celebbasis_generate_prompt", `a photo of ${word}`) && tries) setTimeout(write, 100, tries - 1);
    };
    setTimeout(write, 100, 50);
  };

  window.celebbasis = { setText, press, send: sendToGenerate, ...(window.celebbasisInWebUI ?? {}) };
  document.addEventListener("click", onClick);
  document.addEventListener("focusin", hold);
  document.addEventListener("pointerdown", () => { held = null; }, true);
  window.addEventListener("paste", onPaste, true);
  ["change", "drop"].forEach((kind) => document.addEventListener(kind, onUpload, true));
  new PerformanceObserver(seeUploads).observe({ type: "resource" });
  new MutationObserver(keepFocus).observe(document.body, { childList: true, subtree: true });
  setInterval(rescueUpload, LOOK_EVERY);
  setInterval(watch, WATCH_EVERY);
  setInterval(watchPeople, LOOK_EVERY);
  setInterval(checkNames, CHECK_EVERY);
  setInterval(checkFaces, CHECK_EVERY);
  setInterval(checkPerson, CHECK_EVERY);
}
