// For browsers that are too old for the page; every browser can run this.
document.getElementById("waiting").textContent =
  "This browser is too old for the screening. Please use a current Chrome, Edge, Firefox or Safari. " +
  "Bu tarayıcı tarama için çok eski. Lütfen güncel bir Chrome, Edge, Firefox veya Safari kullanın. " +
  "यह ब्राउज़र जाँच के लिए बहुत पुराना है। कृपया Chrome, Edge, Firefox या Safari का नया संस्करण इस्तेमाल करें।";
