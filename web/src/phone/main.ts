document.querySelector("#app")!.textContent = "catenary";
export {};
