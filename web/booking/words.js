// Words for people, in five languages. {name} is filled in by t().

const WORDS = {
  en: {
    looking: "People looking: {n}",
    title: "Tickets", myTickets: "My tickets", signOut: "Sign out", signIn: "Sign in", signUp: "Sign up",
    events: "On sale", noEvents: "Nothing is on sale right now.", choose: "Choose seats",
    soldOut: "Sold out", left: "{n} left", opens: "Sale opens {when}", stage: "Stage",
    sections: "Sections", pickSection: "Choose a part of the hall", best: "Best seats together",
    bestGo: "Find {n} together", anywhere: "Anywhere", people: "Seats",
    row: "Row {row}", seatLabel: "Row {row}, seat {n}, {status}", AVAILABLE: "free", HELD: "on hold", SOLD: "sold",
    yours: "Selected", selected: "{n} selected", hold: "Hold these seats", most: "At most {n} seats.",
    faster: "Somebody was faster: {seats}. Nothing was taken; please choose again.",
    fasterBest: "Others were faster. Please try again.",
    apart: "No {n} seats side by side were left, so these are close to each other.",
    held: "These seats are yours for now", timeLeft: "Time left", warn: "Twenty seconds left. Do you need more time?",
    more: "More time", moreDone: "Your time was extended.", moreNot: "This is the longest a hold can last.",
    giveBack: "Give seats back", pay: "Pay {amount} with play money", paying: "Paying…", balance: "Play money: {amount}",
    topUp: "Add play money", total: "Total", over: "The time is over and the seats are free again.",
    failed: "The payment did not go through and the seats are free again.", insufficient_funds: "There was too little play money.",
    paid: "Done. Enjoy the show!", ticketsOf: "Your tickets", noTickets: "You have no tickets yet.",
    code: "Code", VALID: "valid", USED: "used", VOID: "void",
    doorTitle: "Who is buying?", guest: "Continue as a guest",
    guestNote: "Makes a throw-away account in this browser, with play money. Nothing real is paid anywhere on this page.",
    haveAccount: "I have an account", newAccount: "Make an account", email: "Email", password: "Password (8 or more)",
    name: "Name", cancel: "Cancel", guestName: "Guest", back: "Back to the line",
    passOver: "Your visit is over. Please go back to the waiting room.", trouble: "Something went wrong. Please try again.",
    offline: "No connection. We keep trying.", backToHall: "Back to the hall", keys: "Arrow keys move between seats.",
  },
  ko: {
    looking: "지금 보고 있는 사람: {n}명",
    title: "티켓", myTickets: "내 티켓", signOut: "로그아웃", signIn: "로그인", signUp: "가입",
    events: "예매 중", noEvents: "지금 예매 중인 공연이 없습니다.", choose: "좌석 고르기",
    soldOut: "매진", left: "{n}석 남음", opens: "{when} 예매 시작", stage: "무대",
    sections: "구역", pickSection: "구역을 고르세요", best: "붙어 있는 좋은 좌석",
    bestGo: "붙어 있는 {n}석 찾기", anywhere: "모든 구역", people: "인원",
    row: "{row}열", seatLabel: "{row}열 {n}번, {status}", AVAILABLE: "선택 가능", HELD: "다른 사람이 선택 중", SOLD: "판매됨",
    yours: "선택함", selected: "{n}석 선택", hold: "이 좌석으로 하기", most: "최대 {n}석까지 고를 수 있습니다.",
    faster: "다른 분이 먼저 선택했습니다: {seats}. 잡힌 좌석은 없으니 다시 골라 주세요.",
    fasterBest: "다른 분들이 먼저 선택했습니다. 다시 시도해 주세요.",
    apart: "나란한 {n}석이 남아 있지 않아 서로 가까운 좌석으로 잡았습니다.",
    held: "좌석을 잠시 잡아 두었습니다", timeLeft: "남은 시간", warn: "20초 남았습니다. 시간이 더 필요하세요?",
    more: "시간 연장", moreDone: "시간을 연장했습니다.", moreNot: "더 이상 연장할 수 없습니다.",
    giveBack: "좌석 포기", pay: "{amount} 결제 (가상 머니)", paying: "결제 중…", balance: "가상 머니: {amount}",
    topUp: "가상 머니 충전", total: "합계", over: "시간이 끝나 좌석이 풀렸습니다.",
    failed: "결제가 되지 않아 좌석이 풀렸습니다.", insufficient_funds: "가상 머니가 부족했습니다.",
    paid: "예매가 끝났습니다. 즐거운 관람 되세요!", ticketsOf: "내 티켓", noTickets: "아직 티켓이 없습니다.",
    code: "코드", VALID: "유효", USED: "사용됨", VOID: "무효",
    doorTitle: "누가 예매하나요?", guest: "게스트로 계속하기",
    guestNote: "이 브라우저에서만 쓰는 임시 계정과 가상 머니를 만듭니다. 이 페이지에서는 실제 돈이 나가지 않습니다.",
    haveAccount: "계정이 있어요", newAccount: "계정 만들기", email: "이메일", password: "비밀번호 (8자 이상)",
    name: "이름", cancel: "취소", guestName: "게스트", back: "대기실로 가기",
    passOver: "입장 시간이 끝났습니다. 대기실로 돌아가 주세요.", trouble: "문제가 생겼습니다. 다시 시도해 주세요.",
    offline: "연결이 끊겼습니다. 계속 시도합니다.", backToHall: "좌석도로 돌아가기", keys: "화살표 키로 좌석 사이를 움직일 수 있습니다.",
  },
  ja: {
    looking: "閲覧中: {n}人",
    title: "チケット", myTickets: "マイチケット", signOut: "ログアウト", signIn: "ログイン", signUp: "登録",
    events: "販売中", noEvents: "現在販売中の公演はありません。", choose: "座席を選ぶ",
    soldOut: "完売", left: "残り{n}席", opens: "{when} 販売開始", stage: "ステージ",
    sections: "エリア", pickSection: "エリアを選んでください", best: "並びのおすすめ席",
    bestGo: "並びの{n}席を探す", anywhere: "全エリア", people: "人数",
    row: "{row}列", seatLabel: "{row}列 {n}番、{status}", AVAILABLE: "空席", HELD: "確保中", SOLD: "販売済み",
    yours: "選択中", selected: "{n}席を選択", hold: "この座席を確保", most: "最大{n}席まで選べます。",
    faster: "先に選ばれてしまいました: {seats}。何も確保していません。選び直してください。",
    fasterBest: "先に選ばれてしまいました。もう一度お試しください。",
    apart: "並びの{n}席が残っていないため、近くの座席にしました。",
    held: "座席を一時的に確保しました", timeLeft: "残り時間", warn: "残り20秒です。時間を延長しますか?",
    more: "時間を延長", moreDone: "時間を延長しました。", moreNot: "これ以上は延長できません。",
    giveBack: "座席を手放す", pay: "{amount}を支払う(仮想マネー)", paying: "支払い中…", balance: "仮想マネー: {amount}",
    topUp: "仮想マネーを追加", total: "合計", over: "時間切れのため座席を解放しました。",
    failed: "支払いができず、座席を解放しました。", insufficient_funds: "仮想マネーが足りませんでした。",
    paid: "完了しました。お楽しみください!", ticketsOf: "マイチケット", noTickets: "チケットはまだありません。",
    code: "コード", VALID: "有効", USED: "使用済み", VOID: "無効",
    doorTitle: "どなたが購入しますか?", guest: "ゲストで続ける",
    guestNote: "このブラウザだけの一時アカウントと仮想マネーを作ります。このページで実際の支払いはありません。",
    haveAccount: "アカウントを持っています", newAccount: "アカウントを作る", email: "メールアドレス", password: "パスワード(8文字以上)",
    name: "お名前", cancel: "キャンセル", guestName: "ゲスト", back: "待機室へ戻る",
    passOver: "入場時間が終了しました。待機室へお戻りください。", trouble: "問題が発生しました。もう一度お試しください。",
    offline: "接続がありません。再試行しています。", backToHall: "座席図へ戻る", keys: "矢印キーで座席を移動できます。",
  },
  zh: {
    looking: "正在浏览：{n} 人",
    title: "门票", myTickets: "我的门票", signOut: "退出", signIn: "登录", signUp: "注册",
    events: "正在售票", noEvents: "目前没有正在售票的演出。", choose: "选座",
    soldOut: "已售罄", left: "剩余 {n} 席", opens: "{when} 开售", stage: "舞台",
    sections: "区域", pickSection: "请选择区域", best: "相邻好座",
    bestGo: "找 {n} 个相邻座位", anywhere: "全部区域", people: "人数",
    row: "{row} 排", seatLabel: "{row} 排 {n} 号,{status}", AVAILABLE: "可选", HELD: "已被暂留", SOLD: "已售",
    yours: "已选", selected: "已选 {n} 席", hold: "保留这些座位", most: "最多可选 {n} 席。",
    faster: "有人先选了:{seats}。没有保留任何座位,请重新选择。",
    fasterBest: "有人先选了,请再试一次。",
    apart: "没有 {n} 个相邻座位了,已为您选择相近的座位。",
    held: "座位已暂时为您保留", timeLeft: "剩余时间", warn: "还剩 20 秒。需要更多时间吗?",
    more: "延长时间", moreDone: "时间已延长。", moreNot: "已达到最长保留时间。",
    giveBack: "放弃座位", pay: "用虚拟币支付 {amount}", paying: "支付中…", balance: "虚拟币:{amount}",
    topUp: "充值虚拟币", total: "合计", over: "时间已到,座位已释放。",
    failed: "支付未成功,座位已释放。", insufficient_funds: "虚拟币不足。",
    paid: "完成!祝您观演愉快!", ticketsOf: "我的门票", noTickets: "您还没有门票。",
    code: "票码", VALID: "有效", USED: "已使用", VOID: "无效",
    doorTitle: "由谁购买?", guest: "以访客身份继续",
    guestNote: "在此浏览器中创建临时账户和虚拟币。本页面不会产生任何真实付款。",
    haveAccount: "我有账户", newAccount: "创建账户", email: "邮箱", password: "密码(至少 8 位)",
    name: "姓名", cancel: "取消", guestName: "访客", back: "返回候补室",
    passOver: "您的访问时间已结束,请返回候补室。", trouble: "出了点问题,请重试。",
    offline: "没有网络连接,正在重试。", backToHall: "返回座位图", keys: "可用方向键在座位间移动。",
  },
  es: {
    looking: "Personas mirando: {n}",
    title: "Entradas", myTickets: "Mis entradas", signOut: "Salir", signIn: "Entrar", signUp: "Registrarse",
    events: "A la venta", noEvents: "Ahora no hay nada a la venta.", choose: "Elegir asientos",
    soldOut: "Agotado", left: "quedan {n}", opens: "Venta desde {when}", stage: "Escenario",
    sections: "Zonas", pickSection: "Elija una zona de la sala", best: "Los mejores asientos juntos",
    bestGo: "Buscar {n} juntos", anywhere: "Cualquiera", people: "Asientos",
    row: "Fila {row}", seatLabel: "Fila {row}, asiento {n}, {status}", AVAILABLE: "libre", HELD: "reservado", SOLD: "vendido",
    yours: "Elegido", selected: "{n} elegidos", hold: "Reservar estos asientos", most: "Como máximo {n} asientos.",
    faster: "Alguien fue más rápido: {seats}. No se reservó nada; elija de nuevo.",
    fasterBest: "Otros fueron más rápidos. Inténtelo de nuevo.",
    apart: "No quedaban {n} asientos juntos; estos están cerca unos de otros.",
    held: "Estos asientos son suyos por ahora", timeLeft: "Tiempo restante", warn: "Quedan veinte segundos. ¿Necesita más tiempo?",
    more: "Más tiempo", moreDone: "Se amplió el tiempo.", moreNot: "No se puede ampliar más.",
    giveBack: "Devolver asientos", pay: "Pagar {amount} con dinero de prueba", paying: "Pagando…", balance: "Dinero de prueba: {amount}",
    topUp: "Añadir dinero de prueba", total: "Total", over: "Se acabó el tiempo y los asientos están libres.",
    failed: "El pago no se realizó y los asientos están libres.", insufficient_funds: "No había suficiente dinero de prueba.",
    paid: "Listo. ¡Disfrute del espectáculo!", ticketsOf: "Sus entradas", noTickets: "Aún no tiene entradas.",
    code: "Código", VALID: "válida", USED: "usada", VOID: "anulada",
    doorTitle: "¿Quién compra?", guest: "Continuar como invitado",
    guestNote: "Crea una cuenta temporal en este navegador, con dinero de prueba. Aquí no se paga nada real.",
    haveAccount: "Tengo una cuenta", newAccount: "Crear una cuenta", email: "Correo", password: "Contraseña (8 o más)",
    name: "Nombre", cancel: "Cancelar", guestName: "Invitado", back: "Volver a la fila",
    passOver: "Su visita terminó. Vuelva a la sala de espera.", trouble: "Algo salió mal. Inténtelo de nuevo.",
    offline: "Sin conexión. Seguimos intentando.", backToHall: "Volver a la sala", keys: "Las flechas mueven entre asientos.",
  },
};

/** What was chosen on the waiting page. */
const chosen = document.cookie.match(/(?:^|; )usher_language=([a-z]+)/)?.[1];
const wanted = [new URLSearchParams(location.search).get("lang"), chosen, ...navigator.languages];

/** The page's language, one of the five. */
export const language = wanted.map((tag) => tag?.split("-")[0].toLowerCase()).find((tag) => tag in WORDS) ?? "en";

/** The words for `key`, with `{name}` filled in from `values`. */
export function t(key, values = {}) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** An amount of money in the smallest unit. */
export function money(amount, currency) {
  const format = new Intl.NumberFormat(language, { style: "currency", currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** An instant for people, in their own time zone, which is named. */
export function when(ms) {
  const parts = { weekday: "short", year: "numeric", month: "long", day: "numeric", hour: "numeric", minute: "2-digit" };
  return new Intl.DateTimeFormat(language, { ...parts, timeZoneName: "short" }).format(ms);
}
